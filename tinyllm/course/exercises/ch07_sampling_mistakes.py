"""What learners usually get wrong in notebook 07. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import itertools
import math

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch07_sampling import (
    cached_step,
    generate,
    mend_choose,
    temperature,
    top_k,
    top_p,
    unspoilt,
)

# temperature

mistake(
    temperature,
    "You divide the probabilities, after the softmax. Then they no longer add up to 1. Divide the logits before it.",
    lambda logits, temperature: logits.softmax(dim=0) / temperature,
)


@mistake(
    temperature,
    "You divide the probabilities and normalise them again: nothing has changed. Divide the logits.",
)
def divides_probabilities_in_vain(logits, temperature):
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    p = logits.softmax(dim=0) / temperature
    return p / p.sum()


mistake(
    temperature,
    "It fails at temperature 0, where you divide by zero. Give all the probability to the largest logit there.",
    lambda logits, temperature: (logits / temperature).softmax(dim=0),
)


@mistake(
    temperature,
    "You multiply by the temperature. A high temperature must flatten the differences: divide the logits.",
)
def multiplies(logits, temperature):
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    return (logits * temperature).softmax(dim=0)


@mistake(
    temperature,
    "The softmax is missing: these are divided logits. Probabilities add up to 1.",
)
def forgets_the_softmax(logits, temperature):
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    return logits / temperature


@mistake(
    temperature,
    "Large logits overflow, and very low ones leave nothing: exp(300) is infinite in these numbers. Subtract the "
    "largest logit first, or leave it to softmax, which does.",
)
def overflows(logits, temperature):
    if temperature == 0:
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    weights = (logits / temperature).exp()
    return weights / weights.sum()


mistake(
    temperature,
    "Below 1 all goes to the largest. That is so at 0 only: divide the logits otherwise.",
    lambda logits, temperature: (
        F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
        if temperature < 1
        else (logits / temperature).softmax(dim=0)
    ),
)

mistake(
    temperature,
    "You take the softmax twice. The second one takes probabilities for logits, and flattens them.",
    lambda logits, temperature: (
        F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
        if temperature == 0
        else (logits / temperature).softmax(0).softmax(0)
    ),
)


# top_k

mistake(
    top_k,
    "The others become 0, and a logit of 0 still gets probability: exp(0) is 1. Only -inf cuts them off.",
    lambda logits, k: logits.where(logits >= logits.topk(k).values.min(), torch.zeros_like(logits)),
)

mistake(
    top_k,
    "You keep the k smallest. The likeliest tokens have the largest logits.",
    lambda logits, k: logits.masked_fill(logits > logits.sort().values[k - 1], -torch.inf),
)

mistake(
    top_k,
    "You return the k values alone. Keep them at their indices: an index is a token, so all V must stay.",
    lambda logits, k: logits.topk(k).values,
)

mistake(
    top_k,
    "One token too few is left: the k-th largest stays too. Compare with >=, or take the right threshold.",
    lambda logits, k: logits.masked_fill(logits <= logits.topk(k).values[-1], -torch.inf),
)

mistake(
    top_k,
    "One token too many is left: only the k largest stay.",
    lambda logits, k: logits.masked_fill(logits < logits.topk(min(k + 1, len(logits))).values[-1], -torch.inf),
)

mistake(
    top_k,
    "Of equal logits at the cut none is left, so fewer than k stay. Keep as many as fit, or all of them.",
    lambda logits, k: logits.masked_fill(
        logits <= (logits.sort(descending=True).values[k] if k < len(logits) else -torch.inf), -torch.inf
    ),
)

mistake(
    top_k,
    "The first k tokens stay, whatever their logits. Find the largest ones first.",
    lambda logits, k: logits.masked_fill(torch.arange(len(logits)) >= k, -torch.inf),
)

mistake(
    top_k,
    "You keep the logits that are farthest from 0. The likeliest tokens have the largest, with their signs.",
    lambda logits, k: torch.full_like(logits, -torch.inf).scatter(
        0, logits.abs().topk(k).indices, logits[logits.abs().topk(k).indices]
    ),
)

mistake(
    top_k,
    "The kept logits become log-probabilities. Leave them as they are.",
    lambda logits, k: top_k(logits, k).log_softmax(0),
)


# top_p


@mistake(
    top_p,
    "The token with which the sum crosses p is dropped. It stays: compare the sum of those before it with p.",
)
def drops_the_token_that_crosses(logits, p):
    ordered, order = logits.sort(descending=True)
    kept = order[ordered.softmax(dim=0).cumsum(dim=0) <= p]
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


@mistake(
    top_p,
    "The right tokens stay, but in sorted order. An index is a token: put each back where it was.",
)
def not_put_back_in_order(logits, p):
    ordered, _ = logits.sort(descending=True)
    probabilities = ordered.softmax(dim=0)
    return ordered.masked_fill(probabilities.cumsum(dim=0) - probabilities >= p, -torch.inf)


@mistake(
    top_p,
    "You add up from the unlikeliest token. Sort with the largest first: descending=True.",
)
def sorts_upwards(logits, p):
    ordered, order = logits.sort()
    probabilities = ordered.softmax(dim=0)
    kept = order[probabilities.cumsum(dim=0) - probabilities < p]
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


mistake(
    top_p,
    "You keep each token whose own probability reaches p. The sum must reach it, likeliest first.",
    lambda logits, p: logits.masked_fill(logits.softmax(dim=0) < p, -torch.inf),
)


@mistake(
    top_p,
    "What is cut becomes 0, and a logit of 0 still gets probability. Only -inf cuts it off.",
)
def cuts_with_zero(logits, p):
    result = top_p(logits, p)
    return result.masked_fill(result == -torch.inf, 0)


@mistake(
    top_p,
    "One token too many is left: the one after the token with which the sum crosses p is cut.",
)
def keeps_one_more(logits, p):
    ordered, order = logits.sort(descending=True, stable=True)
    probabilities = ordered.softmax(dim=0)
    kept = order[: int((probabilities.cumsum(dim=0) < p).sum()) + 2]
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


mistake(
    top_p,
    "You keep what has a share p of the largest probability: that is min-p. Here the probabilities add up to p.",
    lambda logits, p: logits.masked_fill(logits.softmax(0) < p * logits.softmax(0).max(), -torch.inf),
)

mistake(
    top_p,
    "You keep a share p of the tokens. It is their probabilities that must add up to p.",
    lambda logits, p: torch.full_like(logits, -torch.inf).scatter(
        0, logits.topk(math.ceil(p * len(logits))).indices, logits.topk(math.ceil(p * len(logits))).values
    ),
)

mistake(
    top_p,
    "Only the likeliest token stays. Go on until the sum reaches p.",
    lambda logits, p: top_k(logits, 1),
)


# cached_step

mistake(
    cached_step,
    "The position is always 0. The t tokens in the cache have the positions 0 to t - 1, so this one has t, len(keys).",
    lambda token, keys, values, table, positions, *w: cached_step(
        token, keys, values, table, positions[:1].expand(len(keys) + 1, -1), *w
    ),
)

mistake(
    cached_step,
    "The position is one too high: counted from 0, the token after t others is at t.",
    lambda token, keys, values, table, positions, *w: cached_step(token, keys, values, table, positions[1:], *w),
)

mistake(
    cached_step,
    "The position is left out: add its row of the position table to the token's.",
    lambda token, keys, values, table, positions, *w: cached_step(
        token, keys, values, table, torch.zeros_like(positions), *w
    ),
)


@mistake(
    cached_step,
    "The cache is overwritten: only the new key and value are left, so the token sees nothing but itself. Join them "
    "to the old ones with torch.cat.",
)
def overwrites_the_cache(token_id, keys, values, token_table, position_table, *weights):
    x = token_table[token_id] + position_table[len(keys)]
    key, value = (x @ weights[1])[None], (x @ weights[2])[None]
    return value[0], key, value


@mistake(
    cached_step,
    "You return only the new key and value. The next step needs all of them, the old ones first.",
)
def returns_the_new_ones_alone(token_id, keys, values, token_table, position_table, *weights):
    output, keys, values = cached_step(token_id, keys, values, token_table, position_table, *weights)
    return output, keys[-1:], values[-1:]


@mistake(
    cached_step,
    "The new token cannot see itself: its key and value join the cache before the weights are computed.",
)
def does_not_see_itself(token_id, keys, values, token_table, position_table, *weights):
    x = token_table[token_id] + position_table[len(keys)]
    mixed = (keys @ (x @ weights[0]) / math.sqrt(len(x))).softmax(dim=0) @ values
    return mixed, torch.cat([keys, (x @ weights[1])[None]]), torch.cat([values, (x @ weights[2])[None]])


@mistake(
    cached_step,
    "The scores are not divided by the root of C, as they are in training.",
)
def does_not_divide(token_id, keys, values, token_table, position_table, *weights):
    w_q, w_k, w_v = weights
    return cached_step(token_id, keys, values, token_table, position_table, w_q * math.sqrt(keys.shape[1]), w_k, w_v)


@mistake(
    cached_step,
    "The new key and value come before the old ones. The newest token comes last.",
)
def puts_the_new_ones_first(token_id, keys, values, token_table, position_table, *weights):
    output, keys, values = cached_step(token_id, keys, values, token_table, position_table, *weights)
    return output, keys.roll(1, 0), values.roll(1, 0)


@mistake(
    cached_step,
    "The scores are divided by C. Divide by its root, as in training.",
)
def divides_by_the_width(token_id, keys, values, token_table, position_table, w_q, w_k, w_v):
    x = token_table[token_id] + position_table[len(keys)]
    keys, values = torch.cat([keys, (x @ w_k)[None]]), torch.cat([values, (x @ w_v)[None]])
    return (keys @ (x @ w_q) / len(x)).softmax(dim=0) @ values, keys, values


@mistake(
    cached_step,
    "The token's id is taken for its position. The t tokens before have the positions 0 to t - 1, so this one has t.",
)
def id_for_position(token_id, keys, values, token_table, position_table, w_q, w_k, w_v):
    x = token_table[token_id] + position_table[token_id % len(position_table)]
    keys, values = torch.cat([keys, (x @ w_k)[None]]), torch.cat([values, (x @ w_v)[None]])
    return (keys @ (x @ w_q) / math.sqrt(len(x))).softmax(dim=0) @ values, keys, values


# generate


@mistake(
    generate,
    "You read the first row: that is what may follow the first token. The last row, [-1], says what follows all of "
    "them.",
)
def takes_the_first_row(next_logits, prompt, number):
    ids = list(prompt)
    for _ in range(number):
        ids.append(next_logits(ids)[0].argmax().item())
    return ids


mistake(
    generate,
    "The prompt is lost: return it together with what follows it.",
    lambda next_logits, prompt, number: generate(next_logits, prompt, number)[len(prompt) :],
)

mistake(
    generate,
    "You show the model the last token only. It must see all ids so far, or it forgets how the text began.",
    lambda next_logits, prompt, number: generate(lambda ids: next_logits(ids[-1:]), prompt, number),
)

mistake(
    generate,
    "The same token comes again and again: you always read what follows the prompt. Ask about all ids so far, and read "
    "the last row.",
    lambda next_logits, prompt, number: [*prompt, *[next_logits(prompt)[-1].argmax().item() for _ in range(number)]],
)

mistake(
    generate,
    "The likeliest token has the largest score. You take the smallest.",
    lambda next_logits, prompt, number: generate(lambda ids: -next_logits(ids), prompt, number),
)

mistake(
    generate,
    "One token is missing: the loop runs once for each of the `number` new ones.",
    lambda next_logits, prompt, number: generate(next_logits, prompt, max(0, number - 1)),
)

mistake(
    generate,
    "`number` counts the new tokens. You stop when prompt and text together are that long.",
    lambda next_logits, prompt, number: generate(next_logits, prompt, max(0, number - len(prompt))),
)


@mistake(
    generate,
    "You stop where id 0 comes. Nothing was said of an end: write `number` tokens.",
)
def stops_at_zero(next_logits, prompt, number):
    ids = list(prompt)
    for _ in range(number):
        ids.append(int(next_logits(ids)[-1].argmax()))
        if ids[-1] == 0:
            break
    return ids


@mistake(
    generate,
    "You write the second likeliest token. Take the likeliest: argmax.",
)
def second_best(next_logits, prompt, number):
    ids = list(prompt)
    for _ in range(number):
        ids.append(int(next_logits(ids)[-1].topk(2).indices[1]))
    return ids


@mistake(
    generate,
    "You read row len(ids) - 1. The cache, and the draw, give fewer rows than there are ids. The last row is always "
    "[-1].",
)
def counts_the_rows(next_logits, prompt, number):
    ids = list(prompt)
    for _ in range(number):
        ids.append(int(next_logits(ids)[len(ids) - 1].argmax()))
    return ids


# mend_choose: each of its four faults, alone and together

_FAULTS = {
    "twice": "The draw is sharper, or flatter, than the temperature says.",
    "order": "Top-p comes before top-k; it must look at what top-k left.",
    "generator": "The same seed does not give the same draws.",
    "zero": "At temperature 0 something is divided by 0.",
}


def _faulty_choice(faults):
    def choose(logits, generator, tau, k=None, p=None):
        if tau == 0 and "zero" not in faults:
            return logits.argmax().item()
        z = logits / tau
        cuts = [(top_k, k), (top_p, p)]
        for cut, limit in reversed(cuts) if "order" in faults else cuts:
            z = z if limit is None else cut(z, limit)
        probabilities = temperature(z, tau if "twice" in faults else 1.0)
        return torch.multinomial(probabilities, 1, generator=None if "generator" in faults else generator).item()

    return choose


for _count in (1, 2, 3):
    for _left in itertools.combinations(_FAULTS, _count):
        _told = " ".join(["Not all is mended.", *(_FAULTS[fault] for fault in _left)])
        mistake(mend_choose, _told, _faulty_choice(_left))

mistake(
    mend_choose,
    "This computes what the code above computes, so nothing is mended yet. Print what reaches torch.multinomial, for "
    "three logits.",
    _faulty_choice(_FAULTS),
)


@mistake(
    mend_choose,
    "The temperature comes last. It comes first: what top-p cuts depends on it.",
)
def temperature_last(logits, generator, tau, k=None, p=None):
    z = logits
    if k is not None:
        z = top_k(z, k)
    if p is not None:
        z = top_p(z, p)
    return int(torch.multinomial(temperature(z, tau), 1, generator=generator))


# unspoilt

mistake(
    unspoilt,
    "This is the share of good draws. An article is whole only if all of its draws are good.",
    lambda share, draws: 1 - share,
)

mistake(
    unspoilt,
    "You subtract the share once for each draw. With many draws that falls below zero: what multiplies?",
    lambda share, draws: 1 - draws * share,
)

mistake(
    unspoilt,
    "This is the share of articles in which every draw is bad.",
    lambda share, draws: share**draws,
)

mistake(
    unspoilt,
    "This is the share of articles that are spoilt. Asked for are the others.",
    lambda share, draws: 1 - (1 - share) ** draws,
)

mistake(
    unspoilt,
    "That is 1 divided by the number of draws. It must depend on the share of bad tokens.",
    lambda share, draws: 1 / draws,
)
