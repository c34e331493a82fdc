"""Exercises of notebook 06: how a model learns."""

# mypy: allow-untyped-calls
# torch gives `backward` no types, and a comment at each call would be in the way of the reader of a solution.

import math
import random
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.checking.registry import Case, Function, exercise


@exercise(
    cases=lambda: [case for warmup in (4, 0, 9) for case in _rate_cases(warmup)],
    hint="Two cases: before step w a line, from step w on a cosine. How far from w to n is step i, as a number from 0 "
    "to 1?",
    why="The line protects the first steps, when AdamW's averages are still empty. The cosine ends in small steps, so "
    "the weights can settle.",
)
def learning_rate(iteration: int, max_iterations: int, warmup: int, max_rate: float, min_rate: float) -> float:
    """The rate of step i (0 is the first) of n, with w steps of warm-up.

    A linear rise, max (i + 1) / (w + 1) for i < w; then half a cosine, from max at i = w down to min at i = n.
    """
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)  # 0 to 1
    return min_rate + (max_rate - min_rate) * (1 + math.cos(math.pi * progress)) / 2


def _rate_cases(warmup: int) -> list[tuple[int, int, int, float, float]]:
    """The first step, the last of the warm-up, the first after it, one on the way down, and the end."""
    n, most = random.randint(40, 99), random.uniform(1e-3, 5e-3)
    return [(i, n, warmup, most, most / 10) for i in (0, max(0, warmup - 1), warmup, n // 2, n)]


@exercise(
    gradients=False,
    cases=lambda: [_adamw_case(step, eps) for step, eps in ((1, 1e-8), (2, 1e-8), (10, 1e-8), (3, 0.1))],
    hint="In order: the two averages, their corrected copies, the decay of the parameter, then the step. Only m and v "
    "are carried on uncorrected.",
    why="Dividing by the root of v gives each weight its own step size. The decay stays outside, so every weight "
    "shrinks by the same fraction.",
)
def adamw_step(
    parameter: Float[Tensor, "*N"],
    gradient: Float[Tensor, "*N"],
    m: Float[Tensor, "*N"],
    v: Float[Tensor, "*N"],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> tuple[Float[Tensor, "*N"], Float[Tensor, "*N"], Float[Tensor, "*N"]]:
    """One step of AdamW, the first being step 1: the new parameter, m and v.

    m and v begin at zero, so early averages are too small; dividing by 1 - beta^step corrects that.
    """
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    corrected_m = m / (1 - beta1**step)
    corrected_v = v / (1 - beta2**step)
    parameter = parameter * (1 - lr * weight_decay)  # decoupled: the decay does not pass through m and v
    parameter = parameter - lr * corrected_m / (corrected_v.sqrt() + eps)
    return parameter, m, v


def _adamw_case(step: int, eps: float) -> Case:
    parameter, gradient, m, v = torch.randn(4, 3)
    averages = (torch.zeros(3), torch.zeros(3)) if step == 1 else (0.3 * m, 0.3 * v**2)
    return parameter, gradient, *averages, step, 0.1, 0.9, 0.95, eps, 0.5


@exercise(
    gradients=False,
    cases=lambda: [
        ([torch.tensor([3.0, 4.0])], 1.0),
        ([0.1 * torch.randn(3)], 1.0),
        ([torch.randn(3), torch.randn(2, 2)], 0.5),
        ([0.001 * torch.randn(2), 5 * torch.randn(2, 3), torch.randn(4)], 2.0),
    ],
    hint="All tensors together are one long vector. What is its length, and by which factor must it shrink? And if it "
    "is already short enough?",
    why="One factor for all keeps the direction of the step and shortens it. A factor for each tensor would change "
    "the direction.",
)
def clip(gradients: list[Float[Tensor, "..."]], max_norm: float) -> list[Float[Tensor, "..."]]:
    """Scale all gradients by one factor, so that their common norm is at most `max_norm`; small ones stay."""
    norm = torch.stack([(gradient**2).sum() for gradient in gradients]).sum().sqrt()
    scale = (max_norm / norm).clamp(max=1.0)
    return [gradient * scale for gradient in gradients]


def _gradients_after(
    function: Function, model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]
) -> dict[str, Tensor | None]:
    function(model, micro_batches)
    return {f"{name}.grad": parameter.grad for name, parameter in model.named_parameters()}


@exercise(
    cases=lambda: [_accumulation_case(*sizes) for sizes in ((2, 1), (3, 2), (4, 4))],
    observe=_gradients_after,
    hint="`backward` adds to .grad. By what must each loss be divided, so that the sum becomes the mean of the whole "
    "batch?",
    why="The gradient of a mean is the mean of the gradients, so several small batches replace one that does not fit "
    "in memory.",
)
def accumulate(model: nn.Module, micro_batches: list[tuple[Float[Tensor, "N _"], Float[Tensor, "N _"]]]) -> None:
    """Leave in each parameter's .grad the gradient of the whole batch's mean squared error.

    The micro-batches are equally large, so the whole batch's mean is the mean of theirs. `backward` adds up.
    """
    for x, y in micro_batches:
        loss = F.mse_loss(model(x), y) / len(micro_batches)
        loss.backward()


def _accumulation_case(count: int, rows: int) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    return nn.Linear(3, 2), [(torch.randn(rows, 3), torch.randn(rows, 2)) for _ in range(count)]


def _decays_by_name(function: Function, model: nn.Module, weight_decay: float) -> dict[str, list[float]]:
    """Each parameter's weight decays: several if it is in several groups, or several times in one."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays: dict[str, list[float]] = {name: [] for name in names.values()}
    groups = function(model, weight_decay)
    keys = {"params", "weight_decay"}
    if not isinstance(groups, list) or not all(isinstance(group, dict) and keys <= group.keys() for group in groups):
        raise Unusable('your result must be a list of dicts, each with "params" and "weight_decay".')
    for group in groups:
        for parameter in group["params"]:
            if id(parameter) not in names:
                raise Unusable(f'"params" must contain the model\'s own parameters, not a {type(parameter).__name__}.')
            decays[names[id(parameter)]].append(float(group["weight_decay"]))
    return decays


@exercise(
    cases=lambda: [(model, random.choice([0.1, 0.2])) for model in (TiedModel(3, 2), TiedModel(5, 4), nn.Linear(3, 2))],
    observe=_decays_by_name,
    hint="How many dimensions does a matrix have, and how many a bias or a norm's weight? And what does "
    "`model.parameters()` do with a shared one?",
    why="Decay pulls weights towards zero. For a norm's scale and for biases zero is no better than any other value, "
    "so they are left alone.",
)
def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: matrices with weight decay; biases and norms, which have one dimension, without it.

    `model.parameters()` gives each parameter once, even one that two layers share.
    """
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


class TiedModel(nn.Module):
    """An embedding, a norm, and a head that shares the embedding's matrix."""

    def __init__(self, V: int, C: int):
        super().__init__()
        self.embedding = nn.Embedding(V, C)
        self.norm = nn.LayerNorm(C)
        self.hidden = nn.Linear(C, C)
        self.head = nn.Linear(C, V, bias=False)
        self.head.weight = self.embedding.weight
