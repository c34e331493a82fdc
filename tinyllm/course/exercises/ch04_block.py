"""Exercises of notebook 04: what else is in a layer.

Shape letters: B batch, T time (tokens), C embedding_dim.
"""

import math
import random
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tinyllm.course.checking.comparing import difference
from tinyllm.course.checking.registry import Case, Function, exercise


@exercise(
    cases=lambda: (
        [
            (3 * torch.randn(shape) + 1, torch.rand(shape[-1]) + 0.5, torch.randn(shape[-1]))
            for shape in ((1, 1, 4), (1, 3, 4), (2, 3, 4), (2, 5, 6))
        ]
        # So small that eps counts: its default, and another.
        + [(0.003 * torch.randn(1, 2, 4), torch.ones(4), torch.zeros(4))]
        + [(0.01 * torch.randn(1, 2, 4), torch.ones(4), torch.zeros(4), 1e-3)]
    ),
    hint="Each token is a list of C numbers. Along which dimension do you take its mean, and what does keepdim do for "
    "the shapes?",
    why="Each token is normalised alone, so neither the batch nor the other tokens can change it. eps keeps a "
    "constant token from dividing by zero.",
)
def layer_norm(
    x: Float[Tensor, "B T C"], weight: Float[Tensor, " C"], bias: Float[Tensor, " C"], eps: float = 1e-5
) -> Float[Tensor, "B T C"]:
    """Give each token mean 0 and variance 1, then scale and shift."""
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)  # divided by C, not C - 1
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias


@exercise(
    cases=lambda: [(4 * torch.rand(3) - 2,), (torch.linspace(-5, 5, 21),), (3 * torch.randn(2, 3, 4),)],
    hint="The probability that a normal variable is below x is (1 + erf(x / sqrt(2))) / 2. PyTorch has torch.erf.",
    why="A smooth ReLU: large values pass, very negative ones become 0, and small ones pass in part. GPT-2 used the "
    "tanh form, because it was cheaper.",
)
def gelu(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """x times the probability that a normal variable is below x, exactly."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _judge_dropout(
    function: Function, x: Float[Tensor, "*N"], p: float, training: bool
) -> dict[str, bool | list[float]]:
    """What is true of dropout whatever it draws. Bounds of six standard deviations: a right answer never fails."""
    first, second = function(x.clone(), p, training), function(x.clone(), p, training)
    changed = difference(x, first)  # also raises Unusable for another type or shape
    if p == 0 or not training:
        return {"x comes back unchanged": changed is None}
    difference(x, second)
    dropped = first == 0
    columns, rows = (bool((dropped.any(dim) & ~dropped.all(dim)).all()) for dim in (0, 1))
    deviation = math.sqrt(p * (1 - p) / x.numel())
    factors = (first / x)[~dropped].double().round(decimals=3).unique()
    return {
        "each row keeps some values and drops some": rows,
        "each column keeps some values and drops some": columns,
        f"about {p:.0%} of the values are zero": rows
        and columns
        and abs(dropped.double().mean().item() - p) < 6 * deviation,
        "the others are multiplied by": factors[:3].tolist(),
        "each call draws anew": not torch.equal(first, second),
    }


@exercise(
    cases=lambda: [
        (torch.rand(200, 200) + 0.5, random.choice([0.2, 0.3, 0.4]), True),
        (torch.rand(200, 200) + 0.5, random.choice([0.5, 0.6]), True),
        (torch.randn(2, 3), 0.5, False),
        (torch.randn(2, 3), 0.0, True),
    ],
    observe=_judge_dropout,
    hint="What is the mean of the values that are left, compared with the mean before? And what must change when "
    "training is False?",
    why="Dividing by 1 - p keeps the expected value, so later layers see the same scale in training and in evaluation.",
)
def dropout(x: Float[Tensor, "*N"], p: float, training: bool) -> Float[Tensor, "*N"]:
    """In training, set each value to zero with probability p and divide the others by 1 - p.

    So the mean stays the same, and evaluation needs no change at all.
    """
    if not training:
        return x
    kept = torch.rand_like(x) >= p
    return x * kept / (1 - p)


@exercise(
    cases=lambda: [_block_case(*shape) for shape in ((1, 1, 4), (1, 2, 4), (2, 3, 6))],
    hint="Follow the stream: it is never replaced, only added to. What do the two sub-layers read, and where does "
    "their result go?",
    why="The stream itself stays untouched by norms, so gradients reach the first layers unchanged. This order is "
    "called pre-norm.",
)
def block_forward(
    x: Float[Tensor, "B T C"],
    attention_norm: Callable[[Tensor], Tensor],
    attention: Callable[[Tensor], Tensor],
    feedforward_norm: Callable[[Tensor], Tensor],
    feedforward: Callable[[Tensor], Tensor],
) -> Float[Tensor, "B T C"]:
    """One block on the residual stream.

    Each sub-layer reads a normalised copy of the stream and adds its result to the stream itself.
    """
    x = x + attention(attention_norm(x))
    return x + feedforward(feedforward_norm(x))


def _block_case(B: int, T: int, C: int) -> Case:
    """Two norms that differ, and two layers in place of the real ones: the exercise is about their order."""
    norms = [nn.LayerNorm(C) for _ in range(2)]
    for norm in norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return 2 * torch.randn(B, T, C), norms[0], nn.Linear(C, C), norms[1], nn.Linear(C, C)
