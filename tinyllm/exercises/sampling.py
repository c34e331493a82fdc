"""Exercises of notebook 07: how a model writes.

Shape letters: T time (tokens), C embedding_dim, V vocab_size, t tokens in the cache.
"""

import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyllm.exercises.checking import exercise


@exercise(cases=lambda: [(2 * torch.randn(V), value) for V, value in ((3, 1.0), (4, 0.5), (5, 2.0), (4, 0), (30, 0.8))])
def temperature(logits: Tensor, temperature: float) -> Tensor:
    """Logits (V) to probabilities (V): softmax of the divided logits. Temperature 0 gives all to the largest."""
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    return (logits / temperature).softmax(dim=0)


@exercise(cases=lambda: [(2 * torch.randn(V), k) for V, k in ((3, 1), (5, 2), (6, 5), (4, 4), (30, 7))])
def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k largest logits where they stand; the others become -inf: (V) -> (V)."""
    kept = logits.topk(k).indices
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


@exercise(cases=lambda: [_nucleus_case(V, kept) for V, kept in ((3, 2), (4, 1), (5, 4), (6, 3), (30, 6))])
def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the likeliest tokens, up to and including the one with which they reach p: (V) -> (V), others -inf."""
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(dim=0)
    before = probabilities.cumsum(dim=0) - probabilities  # what the likelier tokens hold together
    kept = order[before < p]
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


def _nucleus_case(V: int, kept: int) -> tuple[Tensor, float]:
    """A p in the middle of the step that the token number `kept` makes, so that rounding does not matter."""
    while True:
        logits = 1.5 * torch.randn(V)
        ordered = logits.softmax(dim=0).sort(descending=True).values
        if ordered[kept - 1] > 0.01 and logits.argmax() != 0:  # not in order by chance
            return logits, round((ordered[:kept].sum() - ordered[kept - 1] / 2).item(), 4)


@exercise(cases=lambda: [_cache_case(*sizes) for sizes in ((0, 2, 3), (1, 2, 3), (2, 3, 4), (4, 4, 6))])
def cached_step(
    token_id: int,
    keys: Tensor,
    values: Tensor,
    token_table: Tensor,
    position_table: Tensor,
    w_q: Tensor,
    w_k: Tensor,
    w_v: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """One new token, one head, with the keys and values (t, C) of the t tokens before it.

    x @ w_q is the query, and so on. Returns the output (C), and the keys and values with the new ones: (t + 1, C).
    """
    x = token_table[token_id] + position_table[len(keys)]  # the t tokens before have positions 0 to t - 1
    keys = torch.cat([keys, (x @ w_k)[None]])
    values = torch.cat([values, (x @ w_v)[None]])
    weights = (keys @ (x @ w_q) / math.sqrt(len(x))).softmax(dim=0)  # (t + 1); no mask: nothing comes later
    return weights @ values, keys, values


def _cache_case(t: int, C: int, V: int) -> tuple:
    tables = torch.randn(V, C), torch.randn(t + 3, C)
    return random.randrange(V), torch.randn(t, C), torch.randn(t, C), *tables, *torch.randn(3, C, C)


@exercise(cases=lambda: [_writing_case(*sizes) for sizes in ((2, 1), (3, 4), (1, 3), (4, 8), (3, 0))])
def generate(next_logits: Callable[[list[int]], Tensor], prompt: list[int], number: int) -> list[int]:
    """Write `number` more tokens, always the likeliest; returns the prompt and what follows it.

    `next_logits` gives (T, V) for T ids: row t scores what may come after token t.
    """
    ids = list(prompt)
    for _ in range(number):
        ids.append(next_logits(ids)[-1].argmax().item())
    return ids


def _writing_case(length: int, number: int) -> tuple[Callable[[list[int]], Tensor], list[int], int]:
    V = 20
    table = torch.randn(V, V)

    def next_logits(ids: list[int]) -> Tensor:
        return table[torch.tensor(ids)].cumsum(dim=0)  # (T, V): each row depends on all ids up to it

    return next_logits, random.sample(range(V), length), number
