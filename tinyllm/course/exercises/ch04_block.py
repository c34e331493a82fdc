"""Exercises of notebook 04: what else is in a layer.

Shape letters: B batch, T time (tokens), C embedding_dim.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.comparing import difference
from tinyllm.course.checking.random_masks import mask_findings
from tinyllm.course.checking.registry import Case, Function, exercise


@exercise(
    cases=lambda: (
        [
            (3 * torch.randn(shape) + 1, torch.rand(shape[-1]) + 0.5, torch.randn(shape[-1]))
            for shape in ((1, 1, 4), (1, 3, 4), (2, 3, 4), (2, 5, 6), (3, 1, 7), (1, 1, 2), (1, 13, 12))
        ]
        # A norm that shrinks and turns round, a token of equal numbers, and a token far from 0.
        + [(torch.randn(2, 3, 5), torch.randn(5), torch.randn(5)), (torch.full((1, 2, 4), 3.0), *torch.randn(2, 4))]
        + [(torch.randn(1, 2, 6) + 30, torch.ones(6), torch.zeros(6)), (torch.randn(5, 3, 2).mT, *torch.randn(2, 3))]
        + [(torch.randn(1, 3, 4).double(), *torch.randn(2, 4).double())]
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
    cases=lambda: [
        (4 * torch.rand(3) - 2,),
        (torch.linspace(-5, 5, 21),),
        (3 * torch.randn(2, 3, 4),),
        (torch.tensor([0.0, -30.0, 300.0]),),
        (torch.randn(4, 3).T.double(),),
        (torch.tensor(1.5),),
    ],
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
    """What is true of dropout whatever it draws."""
    random_mask = training and p > 0
    results = [function(x.clone(), p, training) for _ in range(20 if random_mask else 1)]
    changed = difference(x, results[0])  # also raises Unusable for another type or shape
    if not random_mask:
        return {"x comes back unchanged": changed is None}
    dropped = torch.stack([result == 0 for result in results])
    findings = _first_failure(_mask_findings(dropped, p))
    some = next((index for index, mask in enumerate(dropped) if not mask.all()), 0)  # a call that keeps some values
    factors = (results[some] / x)[~dropped[some]].double().round(decimals=3).unique().tolist()
    drawn = dropped.double() - p
    return {
        **findings,
        "the others are multiplied by": factors[:3],
        "what is dropped does not depend on x": not all(findings.values())
        or bool((drawn * x.sign()).mean().abs() < 6 * math.sqrt(p * (1 - p) / drawn.numel())),
    }


def _mask_findings(dropped: Bool[Tensor, "N ..."], p: float) -> dict[str, bool]:
    """What is true of the masks of N calls: first what is sure, then the statistics."""
    one = dropped[0]
    slices = [one.movedim(dim, 0).flatten(1) for dim in range(one.dim()) if one.numel() >= 100 * one.shape[dim]]
    repeats = any(torch.equal(one, mask) for mask in dropped[1:])
    findings = {
        "each row and column keeps some values and drops some": all(
            bool((part.any(1) & ~part.all(1)).all()) for part in slices
        ),
        "about a share p of the values are zero": True,
        "each call draws anew": not repeats,
        "how many are dropped varies from row to row": all(_varies(part, p) for part in slices),
    }
    statistics = mask_findings(dropped.reshape(len(dropped), -1, one.shape[-1] if one.dim() > 1 else 40), p)
    share, *others = statistics.items()
    findings["about a share p of the values are zero"] = share[1] or repeats  # one mask has any share by chance
    findings |= {key: holds and findings.get(key, True) for key, holds in others}
    return findings if one.dim() > 1 else _of_a_vector(findings, repeats)


def _of_a_vector(findings: dict[str, bool], repeats: bool) -> dict[str, bool]:
    """The same without rows and columns; where parts are alike, all other statistics fail by chance."""
    findings = {key: holds for key, holds in findings.items() if key not in _OF_A_MATRIX}
    parts = "no part repeats another"
    return findings if findings[parts] or repeats else {key: key != parts for key in findings}


_OF_A_MATRIX = (
    "each row and column keeps some values and drops some",
    "how many are dropped varies from row to row",
    "rows differ",
    "columns differ",
)


def _first_failure(findings: dict[str, bool]) -> dict[str, bool]:
    """Only the first that fails counts: masks that repeat, say, fail some of the later statistics by chance."""
    first = next((key for key, holds in findings.items() if not holds), None)
    return {key: key != first for key in findings}


def _varies(rows: Bool[Tensor, "N M"], p: float) -> bool:
    """Whether the counts of the rows scatter as those of independent draws do."""
    N, M = rows.shape
    if N < 100:  # too few to tell
        return True
    ratio = rows.sum(dim=1).double().var() / (M * p * (1 - p))
    return bool(abs(ratio - 1) < 6 * math.sqrt(2 / (N - 1) + 1 / (M * N * p * (1 - p))))


@exercise(
    cases=lambda: [
        # Shares that are no tenths: one rounded to tenths is told by its count.
        (_signed(100, 100), random.choice([0.24, 0.36]), True),
        (_signed(3, 35, 40), random.choice([0.54, 0.66]), True),
        (_signed(4, 30, 40), random.choice([0.14, 0.86]), True),
        (_signed(1000), 0.5, True),
        (torch.randn(2, 3), 0.5, False),
        (torch.randn(2, 3, 4), 0.0, True),
        (torch.randn(5), 0.0, False),
    ],
    observe=_judge_dropout,
    hint="What is the mean of the values that are left, compared with the mean before? And what must change when "
    "training is False?",
    why="Dividing by 1 - p keeps the expected value, so later layers see the same scale in training and in evaluation.",
)
def dropout(x: Float[Tensor, "*N"], p: float, training: bool) -> Float[Tensor, "*N"]:
    """In training, set each value to zero with probability p, which is below 1, and divide the others by 1 - p.

    So the mean stays the same, and evaluation needs no change at all.
    """
    if not training:
        return x
    kept = torch.rand_like(x) >= p
    return x * kept / (1 - p)


def _signed(*shape: int) -> Float[Tensor, "*N"]:
    """Numbers of both signs, none of them near 0."""
    return (torch.rand(shape) + 0.5) * (2 * torch.randint(2, shape) - 1)


@exercise(
    cases=lambda: [_block_case(*shape) for shape in ((1, 1, 4), (1, 2, 4), (2, 3, 6), (3, 12, 2))],
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


def _judge_scatter(function: Function, p: float) -> Any:
    """A tenth more or less is near enough: it is measured on some thousand draws. The others are usual mistakes."""
    return settle(function(p), math.sqrt(p / (1 - p)), p / (1 - p), math.sqrt(p * (1 - p)), p * (1 - p), 1.0)


@exercise(
    cases=lambda: [(p,) for p in (0.2, 0.25, 0.3, random.choice([0.4, 0.6]), 0.7, 0.75, 0.8)],
    observe=_judge_scatter,
    hint="A tensor of many ones is one number drawn many times. Which of your functions draws, and what measures how "
    "far the results lie apart?",
    why="A one becomes 0 with probability p, else 1 / (1 - p). The mean stays 1; the variance is p / (1 - p). The more "
    "is dropped, the louder the noise that training must live with.",
)
def measure_scatter(p: float) -> float:
    """The standard deviation of what dropout with probability `p` makes of the number 1 in training."""
    return float(dropout(torch.ones(20_000), p, training=True).std())


def _judge_stack(
    function: Function, x: Tensor, norms: Sequence[nn.Module], layers: Sequence[nn.Module], p: float, training: bool
) -> dict[str, Tensor | bool]:
    """The result, and what it costs the caller: nothing that was handed in may be another afterwards.

    With dropout, each layer adds 1 before it (see `_ones`), so what comes out is a count of those that were kept.
    """
    before = x.clone()
    result = function(x, norms, layers, p, training)
    untouched = {"x is for the caller what it was": torch.equal(x, before)}
    if not training or p == 0:
        return {"result": result, **untouched}
    difference(before, result)  # raises Unusable for another type or shape
    counts = ((result - before) * (1 - p)).double()
    whole = bool(torch.isclose(counts, counts.round(), atol=1e-4).all()) and bool(counts.min() > -0.5)
    sure = 6 * math.sqrt(len(layers) * p * (1 - p) / x.numel())
    return {
        "each layer adds 1 / (1 - p), or nothing": whole,
        "1 - p of it is added": whole and bool(abs(counts.mean() / len(layers) - (1 - p)) < sure),
        **untouched,
    }


@exercise(
    cases=lambda: (
        [
            (2 * torch.randn(B, T, C), *_layers(depth, C), p, p == 0)
            for B, T, C, depth, p in (
                (1, 1, 4, 1, 0.0),
                (2, 3, 4, 2, 0.5),
                (1, 2, 6, 3, 0.0),
                (2, 2, 4, 4, 0.9),
                (1, 2, 3, 0, 0.5),
            )
        ]
        + [(torch.randn(4, 10, 50), *_ones(depth, 50), p, True) for depth, p in ((1, 0.25), (3, 0.6))]
    ),
    observe=_judge_stack,
    hint="Which line changes a tensor that somebody else still holds? Look at x before and after a call.",
    why="`stream = x` is another name for the same numbers, and += writes into them. stream + result makes a new "
    "tensor; so the caller keeps its own, and autograd the values that it needs.",
)
def mend_stack(
    x: Float[Tensor, "B T C"], norms: Sequence[nn.Module], layers: Sequence[nn.Module], p: float, training: bool
) -> Float[Tensor, "B T C"]:
    """Layers on one residual stream: each reads a normalised copy, and its result, after dropout, is added."""
    stream = x
    for norm, layer in zip(norms, layers, strict=True):
        copy = norm(stream)
        result = dropout(layer(copy), p, training)
        stream = stream + result
    return stream


def _layers(depth: int, C: int) -> tuple[list[nn.Module], list[nn.Module]]:
    norms = [nn.LayerNorm(C) for _ in range(depth)]
    for norm in norms:
        nn.init.normal_(norm.weight)
    return [*norms], [nn.Linear(C, C) for _ in range(depth)]


def _ones(depth: int, C: int) -> tuple[list[nn.Module], list[nn.Module]]:
    """Layers that add 1 to everything, whatever they read."""
    norms, layers = _layers(depth, C)
    for parameter in nn.ModuleList(layers).parameters():
        nn.init.constant_(parameter, float(parameter.dim() == 1))
    return norms, layers
