"""Exercises of notebook 04: what else is in a layer.

Shape letters: B batch, T time (tokens), C embedding_dim.
"""

import math
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tinyllm.exercises.checking import difference, exercise


@exercise(
    cases=lambda: (
        [
            (3 * torch.randn(shape) + 1, torch.rand(shape[-1]) + 0.5, torch.randn(shape[-1]))
            for shape in ((1, 1, 4), (1, 3, 4), (2, 3, 4), (2, 5, 6))
        ]
        + [(0.01 * torch.randn(1, 2, 4), torch.ones(4), torch.zeros(4), 1e-3)]
    )  # so small that eps counts
)
def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Give each token mean 0 and variance 1, then scale and shift: x (B, T, C), weight (C), bias (C) -> (B, T, C)."""
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)  # divided by C, not C - 1
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias


@exercise(cases=lambda: [(4 * torch.rand(3) - 2,), (torch.linspace(-5, 5, 21),), (3 * torch.randn(2, 3, 4),)])
def gelu(x: Tensor) -> Tensor:
    """x times the share of a normal distribution that lies below x, exactly. Any shape."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _judge_dropout(function: Callable, x: Tensor, p: float, training: bool) -> dict[str, bool]:
    """What is true of dropout whatever it draws. Bounds of six standard deviations: a right answer never fails."""
    first, second = function(x.clone(), p, training), function(x.clone(), p, training)
    changed = difference(x, first)  # also raises Unusable for another type or shape
    if p == 0 or not training:
        return {"x comes back unchanged": changed is None}
    difference(x, second)
    dropped = first == 0
    deviation = math.sqrt(p * (1 - p) / x.numel())
    return {
        f"about {p:.0%} of the values are zero": abs(dropped.double().mean().item() - p) < 6 * deviation,
        f"the others are x / (1 - {p})": difference((x / (1 - p))[~dropped], first[~dropped]) is None,
        "each value is drawn by itself": all((dropped.any(dim) & ~dropped.all(dim)).all() for dim in (0, 1)),
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
)
def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """In training, set each value to zero with probability p and divide the others by 1 - p. Any shape.

    So the mean stays as it was, and evaluation needs no change at all.
    """
    if not training:
        return x
    kept = torch.rand_like(x) >= p
    return x * kept / (1 - p)


@exercise(cases=lambda: [_block_case(*shape) for shape in ((1, 1, 4), (1, 2, 4), (2, 3, 6))])
def block_forward(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    """One block on the residual stream: (B, T, C) -> (B, T, C).

    Each sub-layer reads a normalised copy of the stream and adds its result to the stream itself.
    """
    x = x + attention(attention_norm(x))
    return x + feedforward(feedforward_norm(x))


def _block_case(B: int, T: int, C: int) -> tuple:
    """Two norms that differ, and two layers that stand for the real ones: the order is what is asked."""
    norms = [nn.LayerNorm(C) for _ in range(2)]
    for norm in norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return 2 * torch.randn(B, T, C), norms[0], nn.Linear(C, C), norms[1], nn.Linear(C, C)
