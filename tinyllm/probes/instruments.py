"""What the probes are made of: quiet passes, true gradients, a listener to attention."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tinyllm.probes.report import IGNORED, Batch, Step


def applied(build: Callable, step: Step, steps: Sequence[Sequence[Batch]]) -> list[Any]:
    """The loss that the first of some steps reports, and the gradient that each brings to the optimizer.

    The learning rate is 0, so no step changes a weight; each begins with the same random numbers.
    """
    model, optimizer = build()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    brought: list[Tensor] = []
    own_step = optimizer.step

    def noting_step(*arguments: Any) -> Any:
        brought.append(gradient_of(optimizer))
        return own_step(*arguments)

    optimizer.step = noting_step
    losses = []
    for batches in steps:
        with seeded():
            losses.append(step(model, optimizer, batches))
    return [losses[0], *brought]


def logits_of(model: nn.Module, ids: Tensor, seed: int = 0) -> Tensor:
    """The logits (B, T, V) in evaluation mode; random numbers, should any still be drawn, come from `seed`."""
    with quiet(model, seed):
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


def learn(build: Callable, step: Step, batches: Sequence[Batch], steps: int, share: float) -> tuple[float, float]:
    """The loss before and after some steps on one batch, with a share of the learning rate and a short warm-up."""
    model, optimizer = build()
    rates = [group["lr"] for group in optimizer.param_groups]
    first = last = math.nan
    try:
        with seeded():
            for number in range(steps):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = share * rate * min(1.0, (number + 1) / 10)
                loss = step(model, optimizer, batches)
                first, last = (loss, loss) if number == 0 else (first, loss)
    except FloatingPointError:
        return first, math.inf
    return first, last if math.isfinite(last) else math.inf


class AttentionListener(TorchFunctionMode):
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


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def gradient_of(optimizer: torch.optim.Optimizer) -> Tensor:
    """All gradients as one long vector; a missing one counts as zero."""
    parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters_of(optimizer)]
    return torch.cat([part.detach().flatten().clone() for part in parts])


def leaves(loss: Tensor) -> Iterator[nn.Parameter]:
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
def seeded(seed: int = 0) -> Iterator[None]:
    """The same random numbers inside at each call; outside, those that would have come anyway."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def quiet(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Evaluation mode, without gradients; the model's mode is put back."""
    was_training = model.training
    model.eval()
    try:
        with seeded(seed), torch.no_grad():
            yield
    finally:
        model.train(was_training)


def about(value: float) -> str:
    return "0" if value == 0 else "less than 0.001" if value < 1e-3 else f"{value:.3f}"
