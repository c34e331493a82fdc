"""Exercises of notebook 03: how a token looks back.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, D head_dim.
"""

import math
import random

import torch
from torch import Tensor

from tinyllm.exercises.checking import exercise


@exercise(cases=lambda: [(torch.randn(T, C),) for T, C in ((2, 1), (3, 2), (4, 3), (1, 4), (7, 5))])
def causal_average(x: Tensor) -> Tensor:
    """Each row becomes the mean of itself and all rows before it: (T, C) -> (T, C)."""
    T = len(x)
    weights = torch.ones(T, T).tril()  # row t has t + 1 ones
    weights = weights / weights.sum(dim=1, keepdim=True)
    return weights @ x


@exercise(
    cases=lambda: [
        (torch.randn(B, H, T, D), torch.randn(B, H, T, D))
        for B, H, T, D in ((1, 1, 2, 2), (1, 2, 3, 2), (2, 2, 3, 4), (2, 3, 5, 4))
    ]
)
def scores(q: Tensor, k: Tensor) -> Tensor:
    """How well each query fits each key: (B, H, T, D) twice -> (B, H, T, T), divided by the root of D."""
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


@exercise(cases=lambda: [(length,) for length in (1, 2, 3, 5, random.randint(6, 9))])
def causal_mask(length: int) -> Tensor:
    """Where a row may look: (T, T) of bool, True in row t at the columns 0 to t."""
    return torch.ones(length, length, dtype=torch.bool).tril()


@exercise(cases=lambda: [_scores_and_mask(*shape) for shape in ((2, 2), (4, 4), (2, 4, 4), (2, 3, 5, 5))])
def attention_weights(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores (..., T, T) to weights (..., T, T): each row adds up to 1, with 0 wherever the mask (T, T) is False."""
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)


def _scores_and_mask(*shape: int) -> tuple[Tensor, Tensor]:
    """The causal mask, with a few more places hidden: the mask to use is the one that is given."""
    T = shape[-1]
    hidden = torch.rand(T, T).tril(-1) > 0.7  # never the diagonal: each row keeps a token to look at
    return 2 * torch.randn(shape), torch.ones(T, T, dtype=torch.bool).tril() & ~hidden


@exercise(
    cases=lambda: [
        (torch.randn(B, T, H * D), H) for B, T, H, D in ((1, 2, 2, 3), (1, 3, 2, 1), (2, 3, 2, 3), (2, 5, 3, 4))
    ]
)
def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Cut each token's C numbers into H heads of D: (B, T, C) -> (B, H, T, D)."""
    B, T, C = x.shape
    return x.view(B, T, num_heads, C // num_heads).transpose(1, 2)


@exercise(cases=lambda: [(torch.randn(shape),) for shape in ((1, 2, 2, 3), (1, 2, 3, 1), (2, 2, 3, 3), (2, 3, 5, 4))])
def merge_heads(x: Tensor) -> Tensor:
    """Put the heads of each token side by side again: (B, H, T, D) -> (B, T, C) with C = H D."""
    B, H, T, D = x.shape
    return x.transpose(1, 2).reshape(B, T, H * D)
