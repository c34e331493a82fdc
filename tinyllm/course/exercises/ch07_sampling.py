"""Exercises of notebook 07: how a model writes.

Shape letters: T time (tokens), C embedding_dim, V vocab_size, t tokens in the cache.
"""

import math
import random
from collections.abc import Callable
from operator import eq
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.generators import near_ties, tailed_scores
from tinyllm.course.checking.registry import Case, Function, exercise


@exercise(
    cases=lambda: [
        *((2 * torch.randn(V), value) for V, value in ((3, 1.0), (4, 0.5), (5, 2.0), (4, 0), (30, 0.8), (1, 1.5))),
        (-300 + torch.randn(5), 0),  # the largest is not the farthest from 0
        (2 * torch.randn(6), 1e-4),  # nearly greedy
        *((2 * value * torch.randn(6), value) for value in (1e-4, 3e-3, 0.05)),  # and not greedy at all
        *((shift + torch.randn(5), random.uniform(0.5, 2.0)) for shift in (300.0, -300.0)),
    ],
    gradients=False,
    hint="What is divided, the logits or the probabilities? And what should come out when you cannot divide at all?",
    why="Dividing logits by t raises each probability to the power 1 / t. Towards 0 the largest takes everything, "
    "which is greedy decoding.",
)
def temperature(logits: Float[Tensor, " V"], temperature: float) -> Float[Tensor, " V"]:
    """Logits to probabilities: softmax of the divided logits. Temperature 0 gives all to the largest."""
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    return (logits / temperature).softmax(dim=0)


def _equal_ones_settled(function: Function, logits: Tensor, k: int) -> Any:
    """Of equal logits at the cut it does not matter which of them stay; and all may, in place of as many as fit."""
    result = function(logits, k)
    if not isinstance(result, Tensor) or result.shape != logits.shape:
        return result
    least = logits.topk(k).values[-1]
    equal = (logits == least).nonzero().flatten()
    kept = int((result[equal] == least).sum())
    if kept + int(result[equal].isneginf().sum()) < len(equal):
        return result
    fit = k - int((logits > least).sum())
    stay = torch.arange(len(equal)) < (fit if kept == len(equal) else kept)
    return result.index_copy(0, equal, torch.where(stay, least, -torch.inf).to(result.dtype))


@exercise(
    cases=lambda: [
        *((2 * torch.randn(V), k) for V, k in ((3, 1), (5, 2), (6, 5), (4, 4), (30, 12), (1, 1))),
        (-300 + torch.randn(5), 3),
        *((near_ties(V), k) for V, k in ((3, 1), (6, 4))),
        (torch.tensor([0.5, 3.0, -1.0, 3.0, 0.5, -1.0]), 2),  # equal ones that are kept, and equal ones that are cut
        (torch.tensor([1.0, 3.0, 1.0, -1.0, 1.0, 1.0])[torch.randperm(6)], 3),  # equal ones at the cut
        (torch.full((5,), 1.5), 2),
    ],
    observe=_equal_ones_settled,
    gradients=False,
    hint="Find the indices of the k largest logits. Which value gives the others a probability of exactly 0 after the "
    "softmax?",
    why="exp(-inf) is 0, so what is cut off can never be drawn, and the softmax divides all the probability among "
    "those kept.",
)
def top_k(logits: Float[Tensor, " V"], k: int) -> Float[Tensor, " V"]:
    """Keep the k largest logits at their indices; the others become -inf.

    Of equal ones at the cut, keep as many as fit, or all.
    """
    kept = logits.topk(k).indices
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


@exercise(
    cases=lambda: [
        *(_nucleus_case(V, kept) for V, kept in ((3, 2), (4, 1), (5, 4), (6, 3), (30, 6))),
        (tailed_scores(9), 1.0),  # all stay
        (near_ties(6), 0.3),
        (300 + torch.randn(4), 1e-3),  # one stays
        (torch.tensor([0.5, 3.0, -1.0, 3.0, 0.5]), 0.7),  # the two largest are equal, with 0.45 each
        (torch.randn(1), 0.4),
    ],
    gradients=False,
    hint="Sort first. For each token, add up the probabilities of those before it, without its own. Then put what is "
    "kept back at its index.",
    why="The token that crosses p stays, so at least one is always kept. Where the model is sure few tokens stay, "
    "otherwise many.",
)
def top_p(logits: Float[Tensor, " V"], p: float) -> Float[Tensor, " V"]:
    """Keep the likeliest tokens, up to and including the one with which they reach p; the others become -inf."""
    ordered, order = logits.sort(descending=True, stable=True)  # of equal ones the lower id first
    probabilities = ordered.softmax(dim=0)
    before = probabilities.cumsum(dim=0) - probabilities  # the likelier tokens' total
    kept = order[before < p]
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


def _nucleus_case(V: int, kept: int) -> tuple[Tensor, float]:
    """A p in the middle of the step that the `kept`-th token makes, so that rounding does not matter."""
    while True:
        logits = 1.5 * torch.randn(V)
        ordered = logits.softmax(dim=0).sort(descending=True).values
        if ordered[kept - 1] > 0.01 and logits.argmax() != 0:  # not in order by chance
            return logits, round((ordered[:kept].sum() - ordered[kept - 1] / 2).item(), 4)


@exercise(
    cases=lambda: [_cache_case(*sizes) for sizes in ((0, 2, 3), (1, 2, 13), (2, 3, 4), (4, 4, 26), (11, 5, 6))],
    gradients=False,
    hint="How many tokens came before this one? That is its position. The new key and value join the cache before the "
    "query is compared with it.",
    why="Earlier keys and values never change, because attention is causal. So each new token costs one row instead "
    "of a whole square.",
)
def cached_step(
    token_id: int,
    keys: Float[Tensor, "t C"],
    values: Float[Tensor, "t C"],
    token_table: Float[Tensor, "V C"],
    position_table: Float[Tensor, "_ C"],
    w_q: Float[Tensor, "C C"],
    w_k: Float[Tensor, "C C"],
    w_v: Float[Tensor, "C C"],
) -> tuple[Float[Tensor, " C"], Float[Tensor, "t+1 C"], Float[Tensor, "t+1 C"]]:
    """One new token, one head, with the keys and values of the t tokens before it.

    x @ w_q is the query, and so on. Returns the output, and the keys and values with the new ones.
    """
    x = token_table[token_id] + position_table[len(keys)]  # the t tokens before have positions 0 to t - 1
    keys = torch.cat([keys, (x @ w_k)[None]])
    values = torch.cat([values, (x @ w_v)[None]])
    weights = (keys @ (x @ w_q) / math.sqrt(len(x))).softmax(dim=0)  # (t + 1); no mask: nothing comes later
    return weights @ values, keys, values


def _cache_case(t: int, C: int, V: int) -> Case:
    tables = torch.randn(V, C), torch.randn(t + 3, C)
    return random.randrange(V), torch.randn(t, C), torch.randn(t, C), *tables, *torch.randn(3, C, C)


@exercise(
    cases=lambda: [
        *(_writing_case(*sizes) for sizes in ((2, 1), (3, 4), (1, 3), (4, 8), (3, 0), (12, 6), (2, 12))),
        _last_row_alone(_writing_case(3, 4)),
    ],
    gradients=False,
    hint="Ask for the scores of all ids so far. Which row says what comes after the last one? Append, and ask again.",
    why="A model writes one token at a time, and each new one becomes part of the question. The prompt is nothing "
    "special.",
)
def generate(next_logits: Callable[[list[int]], Float[Tensor, "T V"]], prompt: list[int], number: int) -> list[int]:
    """Write `number` more tokens, always the likeliest; returns the prompt and what follows it.

    Row t of `next_logits` scores what may come after token t. It may give only the last rows.
    """
    ids = list(prompt)
    for _ in range(number):
        ids.append(int(next_logits(ids)[-1].argmax()))
    return ids


_Writing = tuple[Callable[[list[int]], Tensor], list[int], int]


def _writing_case(length: int, number: int) -> _Writing:
    """Scores that depend on all ids so far; the rows of the prompt disagree, and the answer varies."""
    V = 20
    while True:
        table, prompt = torch.randn(V, V), random.sample(range(V), length)

        def next_logits(ids: list[int], table: Tensor = table) -> Tensor:
            return table[torch.tensor(ids)].cumsum(dim=0)  # (T, V)

        likeliest = next_logits(prompt).argmax(dim=1).tolist()
        written = generate(next_logits, prompt, number)[length:]
        varied = (length == 1 or likeliest[0] != likeliest[-1]) and len(set(written)) >= min(number, 2)
        # In a longer text, id 0 and a token that follows itself are no end.
        if varied and (number < 5 or (0 in written[:-1] and any(map(eq, written[:-2], written[1:-1])))):
            return next_logits, prompt, number


def _last_row_alone(case: _Writing) -> _Writing:
    """The same text from scores in one row, as the notebook's `drawn` and its cache give them."""
    next_logits, prompt, number = case

    def last_logits(ids: list[int]) -> Tensor:
        return next_logits(ids)[-1:]  # (1, V)

    return last_logits, prompt, number


def _draws(
    function: Function, logits: Tensor, seed: int, tau: float, k: int | None = None, p: float | None = None
) -> list[Any]:
    """Ten tokens, one after the other from one generator. An answer that ignores it draws other ones."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed + 1)
    tokens = [function(logits, generator, tau, k, p) for _ in range(10)]
    return [token.item() if isinstance(token, Tensor) and token.numel() == 1 else token for token in tokens]


_SETTINGS = ((8, 1.0), (9, 0.5, 4), (12, 2.0, None, 0.7), (30, 1.8, 6, 0.6), (20, 1.3, 5, 0.7))


@exercise(
    cases=lambda: [
        *((torch.randn(V), random.randrange(2**40), *settings) for V, *settings in 2 * _SETTINGS),
        (torch.randn(5).sort().values - 4, 0, 0.0, 3, 0.9),
        (torch.randn(8), random.randrange(2**40), 3.0, 1),
    ],
    observe=_draws,
    hint="Work out by hand what reaches the draw for three logits and temperature 2. Are its probabilities those of "
    "the formula? What does top-p look at? Who throws the dart? And at temperature 0?",
    why="temperature() divides the logits itself, 0 included. Top-p must look at what top-k left. And only the "
    "generator makes a draw repeatable: without it, torch.multinomial draws from a state that all share.",
)
def mend_choose(
    logits: Float[Tensor, " V"],
    generator: torch.Generator,
    tau: float,
    k: int | None = None,
    p: float | None = None,
) -> int:
    """Draw one token with torch.multinomial: temperature first, then top-k, then top-p on what is left."""
    z = temperature(logits, tau).log()  # log-probabilities are logits
    if k is not None:
        z = top_k(z, k)
    if p is not None:
        z = top_p(z, p)
    return int(torch.multinomial(z.softmax(dim=0), 1, generator=generator))


@exercise(
    draws=True,
    cases=lambda: [
        (round(random.uniform(0.01, 0.03), 4), random.randint(40, 80)),
        (round(random.uniform(0.002, 0.006), 4), random.randint(150, 250)),
        (round(random.uniform(0.1, 0.4), 2), 3),
        (round(random.uniform(0.1, 0.9), 2), 1),
    ],
    observe=lambda function, share, draws: settle(function(share, draws), (1 - share) ** draws, band=0.15),
    hint="Draw it: many articles, each with that many draws, each draw bad with that probability. In what share of the "
    "articles is none bad? Then look for the formula.",
    why="An article is whole if every one of its draws is good, and the probabilities of independent events multiply. "
    "So a tail of one percent spoils most articles of a hundred tokens.",
)
def unspoilt(share: float, draws: int) -> float:
    """The share of articles without a bad token, if each of their draws is bad with the probability `share`."""
    return (1 - share) ** draws
