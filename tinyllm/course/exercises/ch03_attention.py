"""Exercises of notebook 03: how a token looks back.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, D head_dim.
"""

import math
import random
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.registry import Function, exercise

# Of scores: without heads, with a batch, with heads.
_SHAPES = (1, 1), (2, 2), (4, 4), (2, 4, 4), (2, 3, 5, 5), (3, 1, 9, 9)


@exercise(
    cases=lambda: (
        [(torch.randn(T, C),) for T, C in ((2, 1), (3, 2), (4, 3), (1, 4), (7, 5), (21, 2))] + [(torch.randn(5, 6).T,)]
    ),  # a view that is not contiguous
    hint="Row t of the result is the mean of x[: t + 1]. A loop over t is a fine first answer.",
    why="A (T, T) matrix of weights does all rows at once. Attention keeps this form and computes the weights itself.",
)
def causal_average(x: Float[Tensor, "T C"]) -> Float[Tensor, "T C"]:
    """Each row becomes the mean of itself and all rows before it."""
    T = len(x)
    weights = torch.ones(T, T, dtype=x.dtype).tril()  # row t has t + 1 ones
    weights = weights / weights.sum(dim=1, keepdim=True)
    return weights @ x


@exercise(
    cases=lambda: (
        [
            (torch.randn(B, H, T, D), torch.randn(B, H, T, D))
            for B, H, T, D in ((1, 1, 2, 2), (1, 2, 3, 2), (2, 2, 3, 4), (2, 3, 5, 4), (1, 1, 1, 3), (3, 1, 12, 9))
        ]
        + [tuple(torch.randn(2, 2, 5, 3, 4).transpose(2, 3))]
    ),  # as split_heads gives them
    hint="Each query meets each key in a dot product of D numbers: which two dimensions of k must be swapped?",
    why="A dot product of D random numbers has a standard deviation of sqrt(D). Divided by it, the scores start at a "
    "standard deviation of 1, and the softmax starts soft.",
)
def scores(q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"]) -> Float[Tensor, "B H T T"]:
    """How well each query (row) fits each key (column), divided by the root of D."""
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


@exercise(
    cases=lambda: [(length,) for length in (1, 2, 3, 5, random.randint(6, 9), random.randint(20, 40))],
    hint="Row t may attend to columns 0 to t. Which triangle of a square is that, and does the diagonal belong to it?",
    why="The lower triangle with the diagonal: a token sees itself and what came before. One matrix serves every text.",
)
def causal_mask(length: int) -> Bool[Tensor, "T T"]:
    """What a row may see: True in row t at columns 0 to t."""
    return torch.ones(length, length, dtype=torch.bool).tril()


@exercise(
    cases=lambda: (
        [_scores_and_mask(*shape) for shape in _SHAPES]
        + [
            (300 * scores, mask) for scores, mask in [_scores_and_mask(2, 2, 6, 6)]
        ]  # all of a row's weight on one token
        + [(torch.randint(4, (5, 5)) - 3e4, _scores_and_mask(5, 5)[1])]  # lower than any number that stands for -inf
        + [(torch.zeros(4, 4), torch.ones(4, 4, dtype=torch.bool))]
    ),  # ties, and nothing hidden
    hint="What score becomes the weight 0 in a softmax? And along which dimension must the weights of a row add up to "
    "1?",
    why="exp(-inf) is 0. Hidden before the softmax, the other weights of a row still add up to 1.",
)
def attention_weights(scores: Float[Tensor, "*N T T"], mask: Bool[Tensor, "T T"]) -> Float[Tensor, "*N T T"]:
    """Scores to weights: each row adds up to 1, with 0 wherever the mask is False."""
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)


def _scores_and_mask(*shape: int) -> tuple[Tensor, Tensor]:
    """The causal mask, with a few more positions hidden: the answer must use the mask it is given."""
    T = shape[-1]
    mask = torch.ones(T, T, dtype=torch.bool).tril() & (torch.rand(T, T) < 0.7)
    mask[~mask.any(dim=1), 0] = True  # each row keeps a token that it may see
    return 2 * torch.randn(shape), mask


@exercise(
    cases=lambda: (
        [
            (torch.randn(B, T, H * D), H)
            for B, T, H, D in (
                (1, 2, 2, 3),
                (1, 3, 2, 1),
                (2, 3, 2, 3),
                (2, 5, 3, 4),
                (3, 1, 4, 2),
                (2, 11, 1, 5),
                (1, 12, 3, 4),
            )
        ]
        # A third of a wider tensor, as the class hands it over: not contiguous.
        + [
            (torch.randn(2, 3, 24), 12),
            (torch.randn(2, 4, 18)[:, :, 6:12], 3),
        ]
    ),
    hint="Two steps. First cut the last dimension into two, (B, T, H, D). Then swap the heads and the tokens.",
    why="view only reads the same numbers in another shape. Moving heads before tokens is a second step, transpose.",
)
def split_heads(x: Float[Tensor, "B T C"], num_heads: int) -> Float[Tensor, "B H T D"]:
    """Cut each token's C numbers into H heads of D."""
    B, T, C = x.shape
    return x.view(B, T, num_heads, C // num_heads).transpose(1, 2)


@exercise(
    cases=lambda: (
        [
            (torch.randn(shape),)
            for shape in (
                (1, 2, 2, 3),
                (1, 2, 3, 1),
                (2, 2, 3, 3),
                (2, 3, 5, 4),
                (3, 4, 1, 2),
                (2, 1, 4, 5),
                (2, 12, 3, 2),
            )
        ]
        + [(torch.randn(2, 5, 3, 4).transpose(1, 2),)]
    ),
    hint="It is split_heads backwards: undo its last step first. The result must be the input of split_heads again.",
    why="After a transpose the numbers no longer lie in reading order, so view refuses and reshape copies them.",
)
def merge_heads(x: Float[Tensor, "B H T D"]) -> Float[Tensor, "B T C"]:
    """Put the heads of each token side by side again: C = H D."""
    B, H, T, D = x.shape
    return x.transpose(1, 2).reshape(B, T, H * D)


def _judge_spread(function: Function, D: int) -> Any:
    """A tenth more or less is near enough: it is measured on a few thousand pairs. The others are usual mistakes."""
    return settle(function(D), math.sqrt(D), D, 1.0, math.sqrt(2 * D / math.pi), math.sqrt(7 * D) / 12)


@exercise(
    cases=lambda: [(D,) for D in (9, 100, random.choice([30, 50, 200]), 400)],
    observe=_judge_spread,
    hint="Draw all queries at once, a table of N rows and D columns, and the keys likewise. One pair of rows gives one "
    "dot product. What does `std` need to see?",
    why="Each of the D products has a variance of 1, and variances of independent numbers add up, to D. The standard "
    "deviation is the root of that.",
)
def measure_spread(D: int) -> float:
    """The standard deviation of the dot product of a query and a key, each D numbers from `torch.randn`."""
    q, k = torch.randn(2, 5000, D)
    return float((q * k).sum(dim=1).std())


@exercise(
    cases=lambda: [
        (*torch.randn(3, B, H, T, D), window)
        for B, H, T, D, window in (
            (1, 1, 4, 3, 2),
            (2, 2, 6, 4, 3),
            (1, 2, 5, 2, 1),
            (2, 1, 7, 3, 7),
            (1, 1, 3, 2, 5),
            (1, 2, 14, 3, 9),
        )
    ],
    hint="Print the mask for six tokens and a window of three. Which columns are True in its first row?",
    why="In Python an index of -1 counts from the end, so the first rows saw the last tokens: the future. No "
    "error says so. A window must end at the beginning of the text.",
)
def mend_window(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"], v: Float[Tensor, "B H T D"], window: int
) -> Float[Tensor, "B H T D"]:
    """Attention in which each token sees itself and the `window` - 1 tokens before it, or as many as there are."""
    T = q.shape[-2]
    mask = torch.zeros(T, T, dtype=torch.bool)
    for row in range(T):
        for back in range(window):
            if back <= row:
                mask[row, row - back] = True
    weights = attention_weights(scores(q, k), mask)
    return weights @ v
