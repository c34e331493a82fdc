"""What the probes measure with: quiet passes, true gradients, a listener to attention."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.probes.report import IGNORED, Batch, Build, Step


def applied(build: Build, step: Step, steps: Sequence[Sequence[Batch]]) -> tuple[float, list[Float[Tensor, " N"]]]:
    """The loss reported by the first of some steps, and the gradient that each hands to the optimizer.

    The learning rate is 0, so no step changes a weight. Each begins with the same random numbers.
    """
    model, optimizer = build()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    gradients: list[Tensor] = []

    def note(*_: Any) -> None:
        gradients.append(gradient_of(optimizer))

    optimizer.register_step_pre_hook(note)
    losses = []
    for batches in steps:
        with seeded():
            losses.append(step(model, optimizer, batches))
    return losses[0], gradients


def logits_of(model: nn.Module, ids: Int[Tensor, "B T"], seed: int = 0) -> Float[Tensor, "B T V"]:
    """The logits in evaluation mode. If anything random is still on, it draws from `seed`."""
    with quiet(model, seed):
        logits: Tensor = model(ids)
        return logits.float()


@torch.enable_grad()
def mean_loss(model: nn.Module, batches: Sequence[Batch]) -> Float[Tensor, ""]:
    """The mean loss over all tokens of all micro-batches, in nats, with its graph."""
    tokens = sum(int((targets != IGNORED).sum()) for _, targets in batches)
    sums = [
        F.cross_entropy(model(ids).flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")
        for ids, targets in batches
    ]
    return torch.stack(sums).sum() / tokens


def learn(build: Build, step: Step, batches: Sequence[Batch], steps: int, share: float) -> tuple[float, float]:
    """The loss before and after some steps on one batch, with a share of the learning rate and a short warm-up."""
    model, optimizer = build()
    rates = [group["lr"] for group in optimizer.param_groups]
    first = last = math.nan
    try:
        with seeded():
            for iteration in range(steps):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = share * rate * min(1.0, (iteration + 1) / 10)
                last = step(model, optimizer, batches)
                if iteration == 0:
                    first = last
    except FloatingPointError:
        return first, math.inf
    return first, last if math.isfinite(last) else math.inf


class AttentionListener(TorchFunctionMode):
    """Notes for each attention, fused or by hand, how far its rows are from an even spread, and how it is scaled.

    `lost`: the distance from an even spread, in nats, on average. `scales`: what the products of queries and keys are
    multiplied by, times sqrt(D), so 1 is right. Some divide the queries or the keys before the product: then these are
    as much shorter than the others, since both are drawn alike, and that counts as part of the scale.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[float] = []
        self.scales: list[float] = []
        self._product: tuple[Tensor, Tensor, Tensor] | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            self._note(_weights(*args, **(kwargs or {})))
            self.scales.append(_whole_scale(_scale(args[0], **(kwargs or {})), args[0], args[1]))
        elif name in ("matmul", "__matmul__", "bmm") and result.dim() >= 3:
            self._product = (args[0], args[1].mT, result)
        elif name == "softmax" and result.dim() >= 3 and result.shape[-1] == result.shape[-2]:
            self._note(result)
            if self._product is not None and self._product[2].shape == result.shape:
                self.scales += _scale_by_hand(*self._product, args[0], result > 0)
        return result

    def _note(self, weights: Float[Tensor, "*shape T S"]) -> None:
        """ln(number of visible tokens) minus the entropy of the row."""
        visible = (weights > 0).sum(-1).clamp(min=1).float().log()
        self.lost.append((visible - torch.special.entr(weights).sum(-1)).mean().item())


def _scale(q: Float[Tensor, "*shape H T D"], scale: float | None = None, **_: Any) -> float:
    """What the fused attention multiplies by, times sqrt(D)."""
    return 1.0 if scale is None else scale * math.sqrt(q.shape[-1])


def _whole_scale(scale: float, q: Float[Tensor, "*_ D"], k: Float[Tensor, "*_ D"]) -> float:
    """With what was done before the product: one of the two is then shorter than the other by more than chance."""
    shorter, longer = sorted(x.float().square().mean().sqrt().item() for x in (q, k))
    return scale if scale <= 1 or longer == 0 else max(1.0, scale * shorter / longer)


def _scale_by_hand(
    q: Float[Tensor, "*shape T D"],
    k: Float[Tensor, "*shape S D"],
    products: Float[Tensor, "*shape T S"],
    scores: Float[Tensor, "*shape T S"],
    visible: Bool[Tensor, "*shape T S"],
) -> list[float]:
    """What the visible scores are a multiple of their products by, times sqrt(D); nothing where they are no multiple.

    Positions that add to the scores are such a case.
    """
    x, y = products[visible].float(), scores[visible].float()
    slope = (x @ y / (x @ x)).item()
    if not (y - slope * x).norm() < 0.01 * y.norm():
        return []
    return [_whole_scale(slope * math.sqrt(q.shape[-1]), q, k)]


def _weights(
    q: Float[Tensor, "*shape H T D"],
    k: Float[Tensor, "*shape K S D"],
    v: Float[Tensor, "*shape K S _"],
    mask: Shaped[Tensor, "..."] | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Float[Tensor, "*shape H T S"]:
    """The weights inside the fused attention; the arguments are those of `F.scaled_dot_product_attention`."""
    k = k.repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3)
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
    elif mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All parameters that the optimizer moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def gradient_of(optimizer: torch.optim.Optimizer) -> Float[Tensor, " N"]:
    """All gradients as one long vector; a missing one counts as zero."""
    parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters_of(optimizer)]
    return torch.cat([part.detach().flatten() for part in parts])


def leaves(loss: Float[Tensor, ""]) -> Iterator[Tensor]:
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
    """The same random numbers inside at each call. Outside, they go on as if none had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def quiet(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Evaluation mode, without gradients, from fixed random numbers; the modes are restored."""
    with evaluation_mode(model), seeded(seed), torch.no_grad():
        yield


def about(value: float) -> str:
    """A small difference, to be read: three decimals at most."""
    return "0" if value == 0 else "less than 0.001" if value < 1e-3 else f"{value:.3f}"
