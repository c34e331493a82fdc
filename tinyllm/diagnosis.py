"""Is my loss right? Probes for any training: each looks for one kind of bug and says in words what it found.

A bug in a training rarely stops it: the loss still falls. So each probe compares something that must be so (nothing
before token t may depend on token t) with what is so. The probes need no more than a model of ids (B, T) -> logits
(B, T, V) and a function that makes one optimizer step, so they work on other people's loops too.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Batch = tuple[Tensor, Tensor]  # ids and targets, each (B, T)
Step = Callable[[nn.Module, torch.optim.Optimizer, Sequence[Batch]], float]

IGNORED = -100  # a target that does not count, as in `F.cross_entropy`
ONE_BATCH_STEPS = 30
WINDOW = 200  # characters in a row that two texts hardly share by chance


@dataclass(frozen=True)
class Finding:
    """What one probe found. `ok` is None where there was nothing to probe."""

    probe: str
    ok: bool | None
    found: str
    advice: str = ""
    """What it means and what to do, where something is wrong."""

    def __str__(self) -> str:
        mark = {True: "ok", False: "PROBLEM", None: "-"}[self.ok]
        return f"{mark:8s} {self.probe}: {self.found}" + (f" {self.advice}" if self.ok is False else "")


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """The findings of all probes; printing it, or leaving it last in a cell, shows a line for each."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[str]:
        """The names of the probes that found something wrong."""
        return [finding.probe for finding in self.findings if finding.ok is False]

    def __str__(self) -> str:
        number = len(self.problems)
        verdict = "No probe found a problem." if not number else f"{number} of {len(self.findings)} probes found one."
        return "\n".join([*map(str, self.findings), verdict])

    __repr__ = __str__


@dataclass(frozen=True)
class Subject:
    """A training taken apart: what the probes examine."""

    model: nn.Module
    """As trained so far: ids (B, T) -> logits (B, T, V)."""
    build: Callable[[], tuple[nn.Module, torch.optim.Optimizer]]
    """The same model before its first step, the same at each call, and its optimizer."""
    step: Step
    """One optimizer step on the micro-batches of a batch; returns the loss it reports."""
    batch: Callable[[int], Sequence[Batch]]
    """The micro-batches of step number 0, 1, 2 ..."""
    stepwise: Callable[[nn.Module, Tensor], Tensor] | None = None
    """The logits as sampling computes them: token by token, with a cache."""
    first_loss: float | None = None
    """The first loss that the run wrote down."""
    texts: tuple[np.ndarray, np.ndarray] | None = None
    """The ids of the training text and of the held-out text."""
    characters_per_token: float = 4.5
    """Of those texts."""
    floor: tuple[float, float, float] | None = None
    """The held-out loss, the lowest loss possible on that text, and the standard error of their difference."""


def diagnose(subject: Subject) -> Diagnosis:
    """All probes on one training. Nothing of the subject is changed: steps are made on models built anew."""
    model, (ids, targets) = subject.model, subject.batch(0)[0]
    fresh, _ = subject.build()
    sees_ahead, random = causality(model, ids), dropout(model, ids)
    if random.ok and sees_ahead.ok:
        cached = cache(model, subject.stepwise, ids)
    else:
        cached = Finding("cache", None, "not probed: the logits are not fit to be compared.")
    findings = [
        sees_ahead,
        random,
        cached,
        shift(model, fresh, ids),
        first_loss(fresh, ids, targets, subject.first_loss),
        attention(fresh, ids),
        head(fresh),
        *gradients(subject.build, subject.step, subject.batch),
        one_batch(subject.build, subject.step, subject.batch(0)),
        floor(subject.floor),
        leak(subject.texts, round(WINDOW / subject.characters_per_token)),
    ]
    return Diagnosis(tuple(findings))


# Probes of a model


def causality(model: nn.Module, ids: Tensor) -> Finding:
    """Change token t: nothing before t may move."""
    before, moved, T = logits_of(model, ids), 0.0, ids.shape[1]
    for t in (1, T // 2, T - 1):
        changed = ids.clone()
        changed[:, t] = torch.where(ids[:, t] == ids.max(), ids.min(), ids.max())
        moved = max(moved, (logits_of(model, changed) - before)[:, :t].abs().max().item())
    return Finding(
        "causality",
        moved < 1e-3,
        f"another token at place t moves the logits before t by {_about(moved)}.",
        "The model sees what it has to predict, so its loss means nothing. Hide all later tokens: mask the scores "
        "above the diagonal with -inf, before the softmax.",
    )


def cache(model: nn.Module, stepwise: Callable[[nn.Module, Tensor], Tensor] | None, ids: Tensor) -> Finding:
    """Token by token with a cache gives the logits of one pass over the whole."""
    if stepwise is None:
        return Finding("cache", None, "there is none to probe.")
    with _quiet(model):
        apart = (stepwise(model, ids) - model(ids)).abs().max().item()
    return Finding(
        "cache",
        apart < 1e-2,
        f"logits with the cache are {_about(apart)} away from those without.",
        "The model is trained on one thing and samples with another. Look at the new token's position: it is the "
        "number of tokens in the cache, not 0.",
    )


def dropout(model: nn.Module, ids: Tensor) -> Finding:
    """In evaluation mode two passes are alike."""
    apart = (logits_of(model, ids, seed=1) - logits_of(model, ids, seed=2)).abs().max().item()
    return Finding(
        "dropout",
        apart == 0,
        f"after model.eval(), two passes over the same ids are {_about(apart)} apart.",
        "Something random is still on, so every evaluation and every sample is made by a damaged model. Look for a "
        "dropout that does not ask self.training.",
    )


def shift(model: nn.Module, fresh: nn.Module, ids: Tensor) -> Finding:
    """Of all places, training teaches the next one most.

    Its loss need not be the lowest from the start: with a tied head an untrained model finds the token it reads likely.
    """
    length = ids.shape[1] - 2

    def losses(logits: Tensor) -> Tensor:
        """Against the token just read, the next one, and the next but one."""
        seen = logits[:, :length].flatten(0, 1)
        return torch.stack([F.cross_entropy(seen, ids[:, place : place + length].flatten()) for place in (0, 1, 2)])

    logits = logits_of(model, ids)
    before, after = losses(logits_of(fresh, ids)), losses(logits)
    learned = before - after
    best = int(learned.argmax())
    clear = 0.05 * math.log(logits.shape[-1])  # of two gains closer than this, either may be the larger by chance
    if learned[best] < 2 * clear or (best != 1 and learned[best] - learned[1] < clear):
        return Finding("targets", None, "the model has learned too little to tell which token it predicts.")
    wanted = ("the token it has just read", "the next token", "the next token but one")[best]
    return Finding(
        "targets",
        best == 1,
        f"training has taught the model {wanted}: from {before[best]:.2f} to {after[best]:.2f} nats"
        + (best != 1) * f"; the next one from {before[1]:.2f} to {after[1]:.2f}"
        + ".",
        "The targets stand in the wrong place. The target of place t is the id at t + 1: shift them once, and only "
        "once.",
    )


def first_loss(fresh: nn.Module, ids: Tensor, targets: Tensor, recorded: float | None = None) -> Finding:
    """Before its first step a model should find every token about equally likely: ln V."""
    logits = logits_of(fresh, ids)
    uniform = math.log(logits.shape[-1])
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED).item()
    wrong = [value for value in (loss, recorded) if value is not None and abs(value / uniform - 1) > 0.15]
    written = "" if recorded is None else f", the run wrote down {recorded:.2f}"
    if loss not in wrong:
        advice = "The model is right, but what is written down is not its mean loss: look at how the run averages."
    elif loss < uniform:
        advice = "It cannot know anything yet. Are the targets the very tokens that it reads? A tied head likes those."
    else:
        advice = (
            "The untrained model is sure of something, and wrong: its first weights are too large. Draw embeddings and "
            "matrices with a standard deviation of about 0.02."
        )
    return Finding(
        "first loss", not wrong, f"{loss:.2f} nats before the first step{written}; ln V is {uniform:.2f}.", advice
    )


def attention(fresh: nn.Module, ids: Tensor) -> Finding:
    """Before its first step attention should be spread widely: nothing has been learned that could narrow it."""
    with _quiet(fresh), _Attention() as seen:
        fresh(ids)
    if not seen.lost:
        return Finding("attention", None, "no attention was seen.")
    lost = max(seen.lost)
    return Finding(
        "attention",
        lost < 1,
        f"before the first step its weights are {lost:.2f} nats away from an even spread.",
        "A row looks at a few tokens before it has learned which, and hardly any gradient reaches the others. Divide "
        "the scores by the root of the head's width.",
    )


def head(fresh: nn.Module) -> Finding:
    """A head that begins as the embedding's matrix should be that matrix, not a copy of it."""
    matrices = [(name, p) for name, p in fresh.named_parameters() if p.dim() == 2]
    copies = [
        f"{one} and {other}"
        for place, (one, p) in enumerate(matrices)
        for other, q in matrices[place + 1 :]
        if p.data_ptr() != q.data_ptr() and p.shape == q.shape and torch.equal(p, q) and p.std() > 0
    ]
    return Finding(
        "head",
        not copies,
        "no matrix is a copy of another." if not copies else f"{' and '.join(copies)} are equal, but not the same.",
        "They were meant to be one matrix and will drift apart, with a whole vocabulary of weights too many. Assign "
        "the parameter itself (head.weight = embedding.weight), not its values.",
    )


# Probes of a step


def gradients(build: Callable, step: Step, batch: Callable[[int], Sequence[Batch]]) -> list[Finding]:
    """What reaches the optimizer: a gradient for each weight; of this batch alone; of the mean over its tokens."""
    model, optimizer = build()
    with _seeded():
        step(model, optimizer, batch(0))  # a matrix that begins at zero lets a gradient through after one step
        reaching = _reaching(model, optimizer, batch(0))

    _, alone = _applied(build, step, [batch(1)])
    reported, first, second = _applied(build, step, [batch(0), batch(1)])
    model, optimizer = build()
    with _seeded():
        loss = true_gradient(model, optimizer, batch(0))
    true = _gradient(optimizer)
    later = F.cosine_similarity(second, alone, dim=0).item()
    cosine = F.cosine_similarity(first, true, dim=0).item()
    longer, ratio = (first.norm() / true.norm()).item(), reported / loss
    right = cosine > 0.9999 and longer < 1.02 and abs(ratio - 1) < 0.01
    return [
        reaching,
        Finding(
            "old gradients",
            later > 0.9999,
            f"the second step's gradient has a cosine of {later:.3f} with that of a first step on the same batch.",
            "The gradients of earlier batches are still in it, so each step follows all batches so far. Call "
            "optimizer.zero_grad() once in each step.",
        ),
        Finding(
            "average",
            right,
            f"the step's gradient has a cosine of {cosine:.4f} with that of the mean over all tokens and "
            f"{min(longer, 1):.2f} of its length; its loss is {ratio:.2f} of the mean."
            if longer < 1.02
            else f"the step's gradient is {longer:.2f} times as long as that of the mean over all tokens; its loss is "
            f"{ratio:.2f} times the mean.",
            "Tokens do not count alike, or the sum is not a mean. Add up the losses of all tokens of all "
            "micro-batches, and divide once, by their number.",
        ),
    ]


def _applied(build: Callable, step: Step, steps: Sequence[Sequence[Batch]]) -> list[Any]:
    """The loss that the first of some steps reports, and the gradient that each brings to the optimizer.

    The learning rate is 0, so no step changes a weight; each begins with the same random numbers.
    """
    model, optimizer = build()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    brought: list[Tensor] = []
    own_step = optimizer.step

    def noting_step(*arguments: Any) -> Any:
        brought.append(_gradient(optimizer))
        return own_step(*arguments)

    optimizer.step = noting_step
    losses = []
    for batches in steps:
        with _seeded():
            losses.append(step(model, optimizer, batches))
    return [losses[0], *brought]


def _reaching(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> Finding:
    """Whether each weight that the loss depends on has a gradient and stands in the optimizer."""
    loss = true_gradient(model, optimizer, batches, only_loss=True)
    names = {parameter: name for name, parameter in model.named_parameters()}
    trained = set(_parameters(optimizer))
    used = set(_leaves(loss))
    nothing = [names.get(p, f"a tensor of shape {tuple(p.shape)}") for p in (used | set(names)) - (used & trained)]
    for parameter in used & trained:
        (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        if not gradient.isfinite().all() or not gradient.any():
            nothing.append(names.get(parameter, "a tensor"))
    number = len(used | set(names))
    return Finding(
        "gradient flow",
        not nothing,
        f"each of {number} weight tensors gets a finite gradient that is not zero."
        if not nothing
        else f"{len(nothing)} of {number} weight tensors learn nothing, such as {min(nothing)}.",
        "They stay as they were drawn. Are the layers in an nn.ModuleList, do their weights require gradients, and "
        "does the optimizer hold them?",
    )


def one_batch(build: Callable, step: Step, batches: Sequence[Batch], steps: int = ONE_BATCH_STEPS) -> Finding:
    """A model that is shown one batch again and again must learn it by heart."""
    first, last = _learn(build, step, batches, steps, 1.0)
    found = f"{steps} steps on one batch take its loss from {first:.2f} to {last:.2f}."
    if last < 0.6 * first:
        return Finding("one batch", True, found)
    _, slower = _learn(build, step, batches, steps, 0.1)
    if slower < min(0.85 * first, last):
        return Finding(
            "one batch",
            False,
            f"{found} With a tenth of the learning rate: to {slower:.2f}.",
            "The rate is too high: each step jumps over what it aims at. Use a lower one.",
        )
    _, faster = _learn(build, step, batches, steps, 10)  # a rate for a long run may be too low for a short one
    return Finding(
        "one batch",
        faster < 0.6 * first,
        f"{found} With ten times the learning rate: to {faster:.2f}.",
        "A model that cannot learn one batch learns nothing: look at the other findings, and at the optimizer.",
    )


# Probes of a text


def floor(measured: tuple[float, float, float] | None) -> Finding:
    """No honest loss on held-out text is below its entropy."""
    if measured is None:
        return Finding("floor", None, "nobody knows the lowest loss possible on this text.")
    loss, lowest, error = measured
    return Finding(
        "floor",
        loss > lowest - 4 * error,
        f"the held-out loss is {loss:.3f}; the lowest possible on that text is {lowest:.3f}.",
        "No model can be so good at text it never saw. It sees the answers, or it has seen the text.",
    )


def leak(texts: tuple[np.ndarray, np.ndarray] | None, length: int = 48, number: int = 64) -> Finding:
    """Held-out text must not stand in the training text: pieces of so many tokens are looked for there."""
    if texts is None or len(texts[1]) < length:
        return Finding("leak", None, "there is no held-out text to look for.")
    training, held_out = (np.asarray(text) for text in texts)
    size = training.dtype.itemsize
    places = np.linspace(0, len(held_out) - length, number).astype(int)
    data = training.tobytes()
    found = 0
    for place in places:
        piece = held_out[place : place + length].astype(training.dtype).tobytes()
        at = data.find(piece)
        while at % size and at >= 0:  # bytes of two neighbours that happen to look like a token
            at = data.find(piece, at + 1)
        found += at >= 0
    return Finding(
        "leak",
        found <= number // 20,
        f"{found} of {number} pieces of the held-out text stand in the training text.",
        "The held-out loss measures memory. Split by whole documents, and remove doubles before you split.",
    )


# What the probes are made of


def logits_of(model: nn.Module, ids: Tensor, seed: int = 0) -> Tensor:
    """The logits (B, T, V) in evaluation mode; random numbers, should any still be drawn, come from `seed`."""
    with _quiet(model, seed):
        return model(ids).float()


@torch.enable_grad()
def true_gradient(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch], only_loss: bool = False
) -> Any:
    """Leave in .grad the gradient of the mean over all tokens of all micro-batches; returns that mean."""
    optimizer.zero_grad()
    tokens = sum(int((targets != IGNORED).sum()) for _, targets in batches)
    total: Any = 0.0
    for ids, targets in batches:
        logits = model(ids).flatten(0, 1).float()
        loss = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="sum") / tokens
        if not only_loss:
            loss.backward()
            loss = loss.item()
        total += loss
    return total


def _learn(build: Callable, step: Step, batches: Sequence[Batch], steps: int, share: float) -> tuple[float, float]:
    """The loss before and after some steps on one batch, with a share of the learning rate and a short warm-up."""
    model, optimizer = build()
    rates = [group["lr"] for group in optimizer.param_groups]
    first = last = math.nan
    try:
        with _seeded():
            for number in range(steps):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = share * rate * min(1.0, (number + 1) / 10)
                loss = step(model, optimizer, batches)
                first, last = (loss, loss) if number == 0 else (first, loss)
    except FloatingPointError:
        return first, math.inf
    return first, last if math.isfinite(last) else math.inf


class _Attention(TorchFunctionMode):
    """Listens to each attention, fused or by hand: how far its rows are from an even spread, in nats, on average."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[float] = []

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        if name == "scaled_dot_product_attention":
            self._note(_weights(*args, **(kwargs or {})))
        elif name == "softmax" and result.dim() >= 3 and result.shape[-1] == result.shape[-2]:
            self._note(result)
        return result

    def _note(self, weights: Tensor) -> None:
        """(..., T, T): ln(number of visible tokens) less the entropy of the row."""
        visible = (weights > 0).sum(-1).clamp(min=1).float().log()
        self.lost.append((visible - torch.special.entr(weights).sum(-1)).mean().item())


def _weights(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout_p: float = 0.0,
             is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False) -> Tensor:  # fmt: skip
    """The weights inside the fused attention, whose arguments these are: (B, H, T, D) -> (B, H, T, T)."""
    k = k.repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3)
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
    elif mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _gradient(optimizer: torch.optim.Optimizer) -> Tensor:
    """All gradients as one long vector; a missing one counts as zero."""
    parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in _parameters(optimizer)]
    return torch.cat([part.detach().flatten().clone() for part in parts])


def _leaves(loss: Tensor) -> Iterator[nn.Parameter]:
    """The tensors that a loss depends on and that could learn, whether or not a module lists them."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [source for source, _ in node.next_functions]


@contextmanager
def _seeded(seed: int = 0) -> Iterator[None]:
    """The same random numbers inside at each call; outside, those that would have come anyway."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _quiet(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Evaluation mode, without gradients; the model's mode is put back."""
    was_training = model.training
    model.eval()
    try:
        with _seeded(seed), torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _about(value: float) -> str:
    return "0" if value == 0 else "less than 0.001" if value < 1e-3 else f"{value:.3f}"
