"""Right answers of notebook 07 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch07_sampling import (
    cached_step,
    generate,
    mend_choose,
    temperature,
    top_k,
    top_p,
    unspoilt,
)


@form(temperature)
def shares(logits, temperature):
    if temperature == 0:
        result = torch.zeros_like(logits)
        result[logits.argmax()] = 1
        return result
    scaled = logits / temperature
    parts = (scaled - scaled.max()).exp()
    return parts / parts.sum()


@form(top_k)
def in_order(logits, k):
    order = logits.argsort(descending=True, stable=True)
    kept = order[:k]
    result = torch.full_like(logits, -torch.inf)
    result[kept] = logits[kept]
    return result


@form(top_p)
def one_after_the_other(logits, p):
    order = logits.argsort(descending=True, stable=True)
    probabilities = logits.softmax(dim=0)
    result = torch.full_like(logits, -torch.inf)
    total = 0.0
    for index in order:
        if total < p:
            result[index] = logits[index]
        total = total + probabilities[index]
    return result


@form(cached_step)
def step_by_step(token_id, keys, values, token_table, position_table, w_q, w_k, w_v):
    position = len(keys)
    x = token_table[token_id] + position_table[position]
    query, key, value = x @ w_q, x @ w_k, x @ w_v
    keys = torch.cat([keys, key[None]])
    values = torch.cat([values, value[None]])
    fits = keys @ query
    scaled = fits / math.sqrt(len(query))
    weights = scaled.softmax(dim=0)
    return weights @ values, keys, values


@form(generate)
def token_by_token(next_logits, prompt, number):
    ids = prompt.copy()
    for _ in range(number):
        rows = next_logits(ids)
        last = rows[-1]
        token = int(last.argmax())
        ids = [*ids, token]
    return ids


@form(mend_choose)
def all_in_one(logits, generator, tau, k=None, p=None):
    z = logits / tau if tau else temperature(logits, 0).log()
    if k is not None:
        z = top_k(z, k)
    if p is not None:
        z = top_p(z, p)
    probabilities = z.softmax(dim=0)
    return int(torch.multinomial(probabilities, 1, generator=generator))


@form(unspoilt)
def all_good(share, draws):
    good = 1 - share
    return good**draws
