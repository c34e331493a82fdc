"""Exercises of notebook 07: how a model writes.

Shape letters: T time (tokens), C embedding_dim, V vocab_size, t tokens in the cache.
"""

import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyllm.course.checking.checking import exercise, mistake


@exercise(
    cases=lambda: [(2 * torch.randn(V), value) for V, value in ((3, 1.0), (4, 0.5), (5, 2.0), (4, 0), (30, 0.8))],
    hint="What is divided, the logits or the probabilities? And what should come out when you cannot divide at all?",
    why="Dividing logits by t raises each probability to the power 1 / t. Towards 0 the largest takes everything, "
    "which is greedy.",
)
def temperature(logits: Tensor, temperature: float) -> Tensor:
    """Logits (V) to probabilities (V): softmax of the divided logits. Temperature 0 gives all to the largest."""
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    return (logits / temperature).softmax(dim=0)


@mistake(
    temperature,
    "You divide the probabilities, after the softmax. Then they no longer add up to 1. Divide the logits before it.",
)
def divides_probabilities(logits: Tensor, temperature: float) -> Tensor:
    return logits.softmax(dim=0) / temperature


@mistake(
    temperature, "You divide the probabilities and make them add up to 1 again: nothing has changed. Divide the logits."
)
def divides_probabilities_in_vain(logits: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    p = logits.softmax(dim=0) / temperature
    return p / p.sum()


@mistake(temperature, "It fails at temperature 0, where you divide by zero. Give all to the largest logit there.")
def fails_at_zero(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(dim=0)


@mistake(temperature, "You multiply by the temperature. High ones must flatten the differences: divide the logits.")
def multiplies(logits: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    return (logits * temperature).softmax(dim=0)


@mistake(temperature, "The softmax is missing: these are divided logits. Probabilities add up to 1.")
def forgets_the_softmax(logits: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    return logits / temperature


@exercise(
    cases=lambda: [(2 * torch.randn(V), k) for V, k in ((3, 1), (5, 2), (6, 5), (4, 4), (30, 7))],
    hint="Find the places of the k largest logits. Which value makes the softmax give exactly nothing to the other "
    "places?",
    why="exp(-inf) is 0, so what is cut off can never be drawn, and the softmax shares the whole 1 among the kept "
    "ones.",
)
def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k largest logits where they stand; the others become -inf: (V) -> (V)."""
    kept = logits.topk(k).indices
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


@mistake(
    top_k,
    "The others become 0, and a logit of 0 still gets probability: exp(0) is 1. Only -inf cuts them off.",
)
def fills_with_zero(logits: Tensor, k: int) -> Tensor:
    return logits.where(logits >= logits.topk(k).values.min(), torch.zeros_like(logits))


@mistake(top_k, "You keep the k smallest. The likeliest tokens have the largest logits.")
def keeps_the_smallest(logits: Tensor, k: int) -> Tensor:
    return logits.masked_fill(logits > logits.sort().values[k - 1], -torch.inf)


@mistake(top_k, "You return the k values alone. Keep them where they stand: a place is a token, so all V must stay.")
def returns_the_values(logits: Tensor, k: int) -> Tensor:
    return logits.topk(k).values


@mistake(top_k, "One token too few is left: the k-th largest stays too. Compare with >=, or take the right limit.")
def drops_the_last_one(logits: Tensor, k: int) -> Tensor:
    return logits.masked_fill(logits <= logits.topk(k).values[-1], -torch.inf)


@mistake(top_k, "One token too many is left: only the k largest stay.")
def keeps_one_more(logits: Tensor, k: int) -> Tensor:
    return logits.masked_fill(logits < logits.topk(min(k + 1, len(logits))).values[-1], -torch.inf)


@mistake(top_k, "The first k tokens stay, whatever their logits. Find the largest ones first.")
def keeps_the_first(logits: Tensor, k: int) -> Tensor:
    return logits.masked_fill(torch.arange(len(logits)) >= k, -torch.inf)


@exercise(
    cases=lambda: [_nucleus_case(V, kept) for V, kept in ((3, 2), (4, 1), (5, 4), (6, 3), (30, 6))],
    hint="Sort first. For each token, add up the probabilities of those before it, without its own. Then bring what "
    "is kept back to its place.",
    why="The token that crosses p stays, so at least one is always kept. Where the model is sure few tokens stay, "
    "elsewhere many.",
)
def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the likeliest tokens, up to and including the one with which they reach p: (V) -> (V), others -inf."""
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(dim=0)
    before = probabilities.cumsum(dim=0) - probabilities  # what the likelier tokens hold together
    kept = order[before < p]
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


@mistake(
    top_p,
    "The token with which the sum crosses p is dropped. It stays: compare the sum of those before it with p.",
)
def drops_the_token_that_crosses(logits: Tensor, p: float) -> Tensor:
    ordered, order = logits.sort(descending=True)
    kept = order[ordered.softmax(dim=0).cumsum(dim=0) <= p]
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


@mistake(top_p, "The right tokens stay, but in sorted order. A place is a token: put each back where it was.")
def not_put_back_in_order(logits: Tensor, p: float) -> Tensor:
    ordered, _ = logits.sort(descending=True)
    probabilities = ordered.softmax(dim=0)
    return ordered.masked_fill(probabilities.cumsum(dim=0) - probabilities >= p, -torch.inf)


@mistake(top_p, "You add up from the unlikeliest token. Sort with the largest first: descending=True.")
def sorts_upwards(logits: Tensor, p: float) -> Tensor:
    ordered, order = logits.sort()
    probabilities = ordered.softmax(dim=0)
    kept = order[probabilities.cumsum(dim=0) - probabilities < p]
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


@mistake(
    top_p, "You keep each token whose own probability reaches p. It is the sum, likeliest first, that must reach it."
)
def compares_single_probabilities(logits: Tensor, p: float) -> Tensor:
    return logits.masked_fill(logits.softmax(dim=0) < p, -torch.inf)


@mistake(top_p, "What is cut becomes 0, and a logit of 0 still gets probability. Only -inf cuts it off.")
def cuts_with_zero(logits: Tensor, p: float) -> Tensor:
    result = top_p(logits, p)
    return result.masked_fill(result == -torch.inf, 0)


def _nucleus_case(V: int, kept: int) -> tuple[Tensor, float]:
    """A p in the middle of the step that the token number `kept` makes, so that rounding does not matter."""
    while True:
        logits = 1.5 * torch.randn(V)
        ordered = logits.softmax(dim=0).sort(descending=True).values
        if ordered[kept - 1] > 0.01 and logits.argmax() != 0:  # not in order by chance
            return logits, round((ordered[:kept].sum() - ordered[kept - 1] / 2).item(), 4)


@exercise(
    cases=lambda: [_cache_case(*sizes) for sizes in ((0, 2, 3), (1, 2, 3), (2, 3, 4), (4, 4, 6))],
    hint="How many tokens came before this one? That is its position. The new key and value join the cache before "
    "the query looks at it.",
    why="Earlier keys and values never change, because attention is causal. So each new token costs one row instead "
    "of a whole square.",
)
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


@mistake(
    cached_step,
    "The position is always 0. The t tokens in the cache have the positions 0 to t - 1, so this one has t, len(keys).",
)
def position_starts_again(
    token_id: int, keys: Tensor, values: Tensor, token_table: Tensor, position_table: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return cached_step(token_id, keys, values, token_table, position_table[:1].expand(len(keys) + 1, -1), *weights)


@mistake(cached_step, "The position is one too high: counted from 0, the token after t others stands at t.")
def position_one_too_high(
    token_id: int, keys: Tensor, values: Tensor, token_table: Tensor, position_table: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return cached_step(token_id, keys, values, token_table, position_table[1:], *weights)


@mistake(cached_step, "The position is left out: add its row of the position table to the token's.")
def forgets_the_position(
    token_id: int, keys: Tensor, values: Tensor, token_table: Tensor, position_table: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return cached_step(token_id, keys, values, token_table, torch.zeros_like(position_table), *weights)


@mistake(
    cached_step,
    "The cache is overwritten: only the new key and value are left, so the token sees nothing but itself. Join them to "
    "the old ones with torch.cat.",
)
def overwrites_the_cache(
    token_id: int, keys: Tensor, values: Tensor, token_table: Tensor, position_table: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    x = token_table[token_id] + position_table[len(keys)]
    key, value = (x @ weights[1])[None], (x @ weights[2])[None]
    return value[0], key, value


@mistake(cached_step, "You return only the new key and value. The next step needs all of them, the old ones first.")
def returns_the_new_ones_alone(
    token_id: int, keys: Tensor, values: Tensor, token_table: Tensor, position_table: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    output, keys, values = cached_step(token_id, keys, values, token_table, position_table, *weights)
    return output, keys[-1:], values[-1:]


@mistake(
    cached_step, "The new token cannot see itself: its key and value join the cache before the weights are computed."
)
def does_not_see_itself(
    token_id: int, keys: Tensor, values: Tensor, token_table: Tensor, position_table: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    x = token_table[token_id] + position_table[len(keys)]
    mixed = (keys @ (x @ weights[0]) / math.sqrt(len(x))).softmax(dim=0) @ values
    return mixed, torch.cat([keys, (x @ weights[1])[None]]), torch.cat([values, (x @ weights[2])[None]])


@mistake(cached_step, "The scores are not divided by the root of C, as they are in training.")
def does_not_divide(
    token_id: int, keys: Tensor, values: Tensor, token_table: Tensor, position_table: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    w_q, w_k, w_v = weights
    return cached_step(token_id, keys, values, token_table, position_table, w_q * math.sqrt(keys.shape[1]), w_k, w_v)


@mistake(cached_step, "The new key and value stand before the old ones. The newest token comes last.")
def puts_the_new_ones_first(
    token_id: int, keys: Tensor, values: Tensor, token_table: Tensor, position_table: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    output, keys, values = cached_step(token_id, keys, values, token_table, position_table, *weights)
    return output, keys.roll(1, 0), values.roll(1, 0)


def _cache_case(t: int, C: int, V: int) -> tuple:
    tables = torch.randn(V, C), torch.randn(t + 3, C)
    return random.randrange(V), torch.randn(t, C), torch.randn(t, C), *tables, *torch.randn(3, C, C)


@exercise(
    cases=lambda: [_writing_case(*sizes) for sizes in ((2, 1), (3, 4), (1, 3), (4, 8), (3, 0))],
    hint="Ask for the scores of all ids so far. Which row says what comes after the last one? Append, and ask again.",
    why="A model writes one token at a time, and each new one becomes part of the question. The prompt is never "
    "anything special.",
)
def generate(next_logits: Callable[[list[int]], Tensor], prompt: list[int], number: int) -> list[int]:
    """Write `number` more tokens, always the likeliest; returns the prompt and what follows it.

    `next_logits` gives (T, V) for T ids: row t scores what may come after token t.
    """
    ids = list(prompt)
    for _ in range(number):
        ids.append(next_logits(ids)[-1].argmax().item())
    return ids


@mistake(
    generate,
    "You read the first row: that is what may follow the first token. The last row, [-1], says what comes after them "
    "all.",
)
def takes_the_first_row(next_logits: Callable[[list[int]], Tensor], prompt: list[int], number: int) -> list[int]:
    ids = list(prompt)
    for _ in range(number):
        ids.append(next_logits(ids)[0].argmax().item())
    return ids


@mistake(generate, "The prompt is lost: return it together with what follows it.")
def loses_the_prompt(next_logits: Callable[[list[int]], Tensor], prompt: list[int], number: int) -> list[int]:
    return generate(next_logits, prompt, number)[len(prompt) :]


@mistake(
    generate, "You show the model the last token only. It must see all ids so far, or it forgets how the text began."
)
def shows_the_last_token_only(next_logits: Callable[[list[int]], Tensor], prompt: list[int], number: int) -> list[int]:
    return generate(lambda ids: next_logits(ids[-1:]), prompt, number)


@mistake(
    generate,
    "You always ask about the prompt alone, so the same token comes again and again. Append each new one first.",
)
def always_asks_about_the_prompt(
    next_logits: Callable[[list[int]], Tensor], prompt: list[int], number: int
) -> list[int]:
    return [*prompt, *[next_logits(prompt)[-1].argmax().item() for _ in range(number)]]


@mistake(generate, "The likeliest token has the largest score. You take the smallest.")
def takes_the_unlikeliest(next_logits: Callable[[list[int]], Tensor], prompt: list[int], number: int) -> list[int]:
    return generate(lambda ids: -next_logits(ids), prompt, number)


@mistake(generate, "One token is missing: the loop runs once for each of the `number` new ones.")
def one_too_few(next_logits: Callable[[list[int]], Tensor], prompt: list[int], number: int) -> list[int]:
    return generate(next_logits, prompt, max(0, number - 1))


@mistake(generate, "`number` counts the new tokens. You stop when prompt and text together are that long.")
def counts_the_prompt(next_logits: Callable[[list[int]], Tensor], prompt: list[int], number: int) -> list[int]:
    return generate(next_logits, prompt, max(0, number - len(prompt)))


def _writing_case(length: int, number: int) -> tuple[Callable[[list[int]], Tensor], list[int], int]:
    """Scores that depend on all ids so far; the rows of the prompt disagree, and the answer varies."""
    V = 20
    while True:
        table, prompt = torch.randn(V, V), random.sample(range(V), length)

        def next_logits(ids: list[int], table: Tensor = table) -> Tensor:
            return table[torch.tensor(ids)].cumsum(dim=0)  # (T, V)

        likeliest = next_logits(prompt).argmax(dim=1).tolist()
        written = generate(next_logits, prompt, number)[length:]
        if (length == 1 or likeliest[0] != likeliest[-1]) and len(set(written)) >= min(number, 2):
            return next_logits, prompt, number
