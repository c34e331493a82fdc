"""Probes of a model: nothing is trained."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.probes.instruments import AttentionListener, about, logits_of, quiet
from tinyllm.probes.report import IGNORED, Finding


def causality(model: nn.Module, ids: Int[Tensor, "B T"]) -> Finding:
    """Changing token t must not move any logit before t."""
    before, moved, T = logits_of(model, ids), 0.0, ids.shape[1]
    for t in (1, T // 2, T - 1):
        changed = ids.clone()
        changed[:, t] = torch.where(ids[:, t] == ids.max(), ids.min(), ids.max())
        moved = max(moved, (logits_of(model, changed) - before)[:, :t].abs().max().item())
    return Finding(
        "causality",
        moved < 1e-3,
        f"another token at position t moves the logits before t by {about(moved)}.",
        "The model sees what it has to predict, so its loss means nothing. Hide all later tokens: mask the scores "
        "above the diagonal with -inf, before the softmax.",
    )


def cache(model: nn.Module, stepwise: Callable[[nn.Module, Tensor], Tensor] | None, ids: Int[Tensor, "B T"]) -> Finding:
    """Token by token with a cache must give the logits of a single pass."""
    if stepwise is None:
        return Finding("cache", None, "there is none to probe.")
    with quiet(model):
        apart = (stepwise(model, ids) - model(ids)).abs().max().item()
    return Finding(
        "cache",
        apart < 1e-2,
        f"logits with the cache are {about(apart)} away from those without.",
        "Sampling does not use the model that was trained. Check the new token's position: it is the number of tokens "
        "in the cache, not 0.",
    )


def dropout(model: nn.Module, ids: Int[Tensor, "B T"]) -> Finding:
    """In evaluation mode two passes must agree."""
    apart = (logits_of(model, ids, seed=1) - logits_of(model, ids, seed=2)).abs().max().item()
    return Finding(
        "dropout",
        apart == 0,
        f"after model.eval(), two passes over the same ids are {about(apart)} apart.",
        "Something random is still on, so every evaluation and every sample comes from a damaged model. Look for a "
        "dropout that ignores self.training.",
    )


def shift(model: nn.Module, fresh: nn.Module, ids: Int[Tensor, "B T"]) -> Finding:
    """Training must improve the prediction of the next token most, not of the current one or the one after the next.

    Its loss need not be the lowest from the start: with a tied head an untrained model favours the token it reads.
    """
    logits = logits_of(model, ids)
    before, after = _losses_by_offset(logits_of(fresh, ids), ids), _losses_by_offset(logits, ids)
    learned = before - after
    best = int(learned.argmax())
    clear = 0.05 * math.log(logits.shape[-1])  # of two gains closer than this, either may be the larger by chance
    if learned[best] < 2 * clear or (best != 1 and learned[best] - learned[1] < clear):
        return Finding("targets", None, "the model has learned too little to tell which token it predicts.")
    predicted = ("the token it has just read", "the next token", "the next token but one")[best]
    found = f"training has taught the model {predicted}: from {before[best]:.2f} to {after[best]:.2f} nats"
    if best != 1:
        found += f"; the next one from {before[1]:.2f} to {after[1]:.2f}"
    return Finding(
        "targets",
        best == 1,
        f"{found}.",
        "The targets are misaligned. The target at position t is the id at t + 1: shift them once, and only once.",
    )


def _losses_by_offset(logits: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"]) -> Float[Tensor, "3"]:
    """The loss against the token just read, the next one, and the next but one."""
    length = ids.shape[1] - 2
    seen = logits[:, :length].flatten(0, 1)
    return torch.stack([F.cross_entropy(seen, ids[:, offset : offset + length].flatten()) for offset in (0, 1, 2)])


def first_loss(
    fresh: nn.Module, ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], recorded: float | None = None
) -> Finding:
    """Before its first step a model should find every token about equally likely: ln V."""
    logits = logits_of(fresh, ids)
    uniform = math.log(logits.shape[-1])
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED).item()
    wrong = [value for value in (loss, recorded) if value is not None and abs(value / uniform - 1) > 0.15]
    in_history = "" if recorded is None else f", the run recorded {recorded:.2f}"
    if loss not in wrong:
        advice = "The model is right, but the recorded value is not its mean loss: check how the run averages."
    elif loss < uniform:
        advice = "It cannot know anything yet. Are the targets the very tokens it reads? A tied head favours those."
    else:
        advice = (
            "The untrained model is confident, and wrong: its initial weights are too large. Draw embeddings and "
            "matrices with a standard deviation of about 0.02."
        )
    return Finding(
        "first loss", not wrong, f"{loss:.2f} nats before the first step{in_history}; ln V is {uniform:.2f}.", advice
    )


def attention(fresh: nn.Module, ids: Int[Tensor, "B T"]) -> Finding:
    """Scores must be divided by sqrt(D); before the first step, nothing else could narrow attention either.

    Two measurements, since neither is enough: weights drawn small hide a scale that is missing, and a scale that is
    right does not help weights drawn far too large.
    """
    with quiet(fresh), AttentionListener() as seen:
        fresh(ids)
    if not seen.lost:
        return Finding("attention", None, "no attention was seen.")
    lost, scale = max(seen.lost), max(seen.scales, default=None)
    scaled = "their scale could not be seen" if scale is None else f"scores are {scale:.2f} times q k / sqrt(D)"
    return Finding(
        "attention",
        lost < 1 and (scale is None or scale < 1.5),
        f"{scaled}; before the first step the weights are {lost:.2f} nats away from an even spread.",
        "Scores grow with the head's width D, and each row will attend to a few tokens before it has learned which. "
        "Divide the scores by sqrt(D), and draw the weights small.",
    )


def head(fresh: nn.Module) -> Finding:
    """A head that begins equal to the embedding's matrix should be that matrix, not a copy of it."""
    matrices = [(name, p) for name, p in fresh.named_parameters() if p.dim() == 2]
    copies = [
        f"{one} and {other}"
        for index, (one, p) in enumerate(matrices)
        for other, q in matrices[index + 1 :]
        if p.data_ptr() != q.data_ptr() and p.shape == q.shape and torch.equal(p, q) and p.std() > 0
    ]
    return Finding(
        "head",
        not copies,
        "no matrix is a copy of another." if not copies else f"{' and '.join(copies)} are equal, but not the same.",
        "They were meant to be one matrix and will drift apart, with a whole vocabulary of weights too many. Assign "
        "the parameter itself (head.weight = embedding.weight), not its values.",
    )
