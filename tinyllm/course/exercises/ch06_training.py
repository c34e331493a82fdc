"""Exercises of notebook 06: how a model learns."""

# mypy: allow-untyped-calls
# torch gives `backward` no types, and a comment at each call would be in the way of the reader of a solution.

import math
import random
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tinyllm.course.checking.accumulating import left_behind
from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.checking.registry import Case, Function, exercise


@exercise(
    cases=lambda: [case for warmup in (4, 0, 9, 1) for case in _rate_cases(warmup)],
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
    """The first step, the last of the warm-up, the first after it, two on the way down, and the end."""
    n = random.randint(40, 99)
    steps = (0, max(0, warmup - 1), warmup, n // 2, n - 1, n)
    rates = [(random.uniform(1e-3, 5e-3), random.uniform(0.05, 0.5)) for _ in steps]
    return [(i, n, warmup, most, share * most) for i, (most, share) in zip(steps, rates, strict=True)]


@exercise(
    cases=lambda: [
        _adamw_case(*settings)
        for settings in ((1, 1e-8, (3,)), (2, 1e-8, (1,)), (10, 1e-7, (2, 3)), (3, 0.1, (4,)), (300, 1e-3, (2, 1, 3)))
    ],
    gradients=False,
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


def _adamw_case(step: int, eps: float, shape: tuple[int, ...]) -> Case:
    parameter, gradient, m, v = torch.randn(4, *shape)
    averages = (torch.zeros(shape), torch.zeros(shape)) if step == 1 else (0.3 * m, 0.3 * v**2)
    lr, decay = random.uniform(0.05, 0.2), random.uniform(0.3, 0.8)
    return parameter, gradient, *averages, step, lr, random.uniform(0.7, 0.9), random.uniform(0.93, 0.97), eps, decay


@exercise(
    gradients=False,
    cases=lambda: [
        # So long that a tiny epsilon beside the norm, as in PyTorch's own function, makes no difference.
        ([1e3 * gradient for gradient in gradients], 1e3 * max_norm)
        for gradients, max_norm in (
            ([torch.tensor([3.0, 4.0])], random.uniform(0.5, 2.0)),
            ([torch.rand(3)], random.uniform(2.0, 4.0)),
            ([torch.randn(3), torch.randn(2, 2)], 0.5),
            ([0.001 * torch.randn(2), 5 * torch.randn(2, 3), torch.randn(4)], 2.0),
            ([torch.tensor([3.0, 0.0]), torch.tensor([[0.0], [4.0]])], 5.0),  # as long as it may be
            ([torch.rand(3) + 1], random.uniform(6.0, 9.0)),  # long, and short enough
            ([torch.rand(3) + 0.5], 0.05),
            ([torch.zeros(3), torch.zeros(2, 1)], 1.0),  # nothing to shorten
            ([torch.zeros(2, 2), *(torch.randn(2, 3, 2) for _ in range(10))], random.uniform(0.1, 1.0)),
        )
    ],
    hint="All tensors together are one long vector. What is its length, and by which factor must it shrink? And if it "
    "is already short enough?",
    why="One factor for all keeps the direction of the whole gradient and shortens it. A factor for each tensor would "
    "change the direction.",
)
def clip(gradients: list[Float[Tensor, "..."]], max_norm: float) -> list[Float[Tensor, "..."]]:
    """Scale all gradients by one factor, so that their common norm is at most `max_norm`; small ones stay."""
    norm = torch.stack([(gradient**2).sum() for gradient in gradients]).sum().sqrt()
    scale = (max_norm / norm).clamp(max=1.0)
    return [gradient * scale for gradient in gradients]


class Regression(nn.Module):
    """A small model that returns its loss, as a GPT does when it is given targets too."""

    def __init__(self, inputs: int = 3, outputs: int = 2):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Float[Tensor, "B I"], y: Float[Tensor, "B O"]) -> Float[Tensor, ""]:
        """The mean squared error."""
        return nn.functional.mse_loss(self.linear(x), y)


@exercise(
    cases=lambda: [_accumulation_case(*sizes) for sizes in ((2, 1), (3, 2), (4, 4), (1, 3), (12, 2))],
    observe=left_behind,
    hint="`backward` adds to .grad. By what must each loss be divided, so that the sum becomes the mean of the whole "
    "batch?",
    why="The gradient of a mean is the mean of the gradients, so several small batches replace one that does not fit "
    "into memory.",
)
def accumulate(model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]) -> float:
    """Leave the gradient of the whole batch in .grad, and return its mean loss.

    The micro-batches have the same size, and `model(x, y)` is the mean loss of one.
    """
    total = 0.0
    for x, y in micro_batches:
        loss = model(x, y) / len(micro_batches)
        loss.backward()  # adds to what is in .grad
        total += loss.item()
    return total


def _accumulation_case(count: int, rows: int) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    return Regression(), [(torch.randn(rows, 3), torch.randn(rows, 2)) for _ in range(count)]


def _decays_by_name(function: Function, model: nn.Module, weight_decay: float) -> dict[str, list[float]]:
    """Each parameter's weight decays: several if it is in several groups, or several times in one."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays: dict[str, list[float]] = {name: [] for name in names.values()}
    groups = function(model, weight_decay)
    keys, are_groups = {"params", "weight_decay"}, isinstance(groups, list | tuple)
    if not are_groups or not all(isinstance(group, dict) and keys <= group.keys() for group in groups):
        raise Unusable('your result must be a list of dicts, each with "params" and "weight_decay".')
    for group in groups:
        for parameter in group["params"]:
            if id(parameter) not in names:
                raise Unusable(f'"params" must contain the model\'s own parameters, not a {type(parameter).__name__}.')
            decays[names[id(parameter)]].append(float(group["weight_decay"]))
    for name, found in decays.items():
        if not found:
            raise Unusable(f"{name!r} is in no group, so it would never be trained.")
        if len(found) > 1:
            raise Unusable(f"{name!r} is in your groups {len(found)} times. Each parameter belongs in one, once.")
    return decays


@exercise(
    cases=lambda: [
        (model, random.uniform(0.05, 0.3))
        for model in (
            TiedModel(3, 2),
            TiedModel(5, 4),
            nn.Linear(3, 2),
            odd_names(),
            many_layers(),
        )
    ],
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


def many_layers() -> nn.Sequential:
    """Twelve layers, each third of them a norm."""
    return nn.Sequential(*(nn.LayerNorm(2) if index % 3 == 0 else nn.Linear(2, 2) for index in range(12)))


def odd_names() -> nn.ModuleDict:
    """Names from which nothing follows: a layer called norm, a norm called layer, an embedding called wte."""
    return nn.ModuleDict({"norm": nn.Linear(2, 2), "layer": nn.LayerNorm(2), "wte": nn.Embedding(3, 2)})


def _losses_and_weights(
    function: Function,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[tuple[Tensor, Tensor]],
    rates: list[float],
    max_norm: float,
) -> dict[str, Any]:
    losses = function(model, optimizer, batches, rates, max_norm)
    return {"the losses": losses, **dict(model.named_parameters())}


@exercise(
    cases=lambda: [
        _loop_case(*settings)
        for settings in ((torch.optim.SGD, 2, 0.1), (torch.optim.AdamW, 3, 0.5), (torch.optim.SGD, 5, 50.0))
    ],
    observe=_losses_and_weights,
    hint="Write down what a step needs, in order: its rate, a loss, fresh gradients, clipped, and only then the step. "
    "Which of these comes too late, or not at all? And how many groups has the optimizer?",
    why="Gradients add up until they are cleared, what is clipped after the step is clipped in vain, and a rate set "
    "for one group leaves the others behind. None of these raises an error: the loss is only worse.",
)
def mend_loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[tuple[Tensor, Tensor]],
    rates: list[float],
    max_norm: float,
) -> list[float]:
    """One step for each batch, at its own rate, with the gradient clipped; returns the loss before each step."""
    losses = []
    for (x, y), rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _loop_case(kind: Callable[..., torch.optim.Optimizer], steps: int, max_norm: float) -> Case:
    """The gradients are longer than the first two norms, and shorter than the last; rates rise and fall."""
    model = Regression()
    optimizer = kind(parameter_groups(model, 0.1), lr=0.001)
    batches = [(torch.randn(4, 3), 3 * torch.randn(4, 2)) for _ in range(steps)]
    return model, optimizer, batches, [random.uniform(0.05, 0.2) for _ in range(steps)], max_norm


@exercise(
    draws=True,
    cases=lambda: [(count,) for count in (1, 2, random.randint(3, 8), random.randint(9, 30), 64)],
    observe=lambda function, count: settle(function(count), count**-0.5, 1 / count, 1.0, count**0.5, band=0.15),
    hint="Measure how far the mean of 4 micro-batches is from the mean of all, then the mean of 16. By what factor did "
    "the distance shrink?",
    why="Independent errors partly cancel: the mean of n has the spread of one, divided by the root of n. So four "
    "times the batch halves the noise, and costs four times as much.",
)
def noise_left(count: int) -> float:
    """The noise of the mean gradient of this many micro-batches, as a share of the noise of one."""
    return 1 / math.sqrt(count)
