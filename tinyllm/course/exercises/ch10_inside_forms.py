"""Right answers of notebook 10 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import torch

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch10_inside import (
    attribution,
    induction_score,
    lens,
    ov_circuit,
    patch,
    score_by_chance,
    switch_off,
)


@form(switch_off)
def by_a_mask(mixed, head, num_heads):
    size = mixed.shape[-1] // num_heads
    owner = torch.arange(mixed.shape[-1]) // size
    kept = torch.where(owner == head, 0.0, 1.0)
    return mixed * kept.to(mixed.dtype)


@form(lens)
def norm_by_hand(stream, weight, bias, table):
    centred = stream - stream.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    deviation = torch.sqrt(variance + 1e-5)
    normed = centred / deviation
    scaled = normed * weight
    shifted = scaled + bias
    return shifted @ table.T


@form(patch)
def where_it_is(stream, other, position):
    here = torch.arange(stream.shape[1]) == position
    return torch.where(here[:, None], other, stream)


@form(induction_score)
def along_a_diagonal(weights, period):
    total = 0.0
    for t in range(period, len(weights)):
        seen = t - period + 1
        total = total + weights[t, seen]
    count = len(weights) - period
    return total / count


@form(attribution)
def share_by_share(parts, stream, weight, direction):
    deviation = (stream - stream.mean()).square().mean().sqrt()
    centred = parts - parts.mean(dim=-1, keepdim=True)
    normed = centred / deviation
    scaled = normed * weight
    return (scaled * direction).sum(dim=-1)


@form(ov_circuit)
def values_then_projection(qkv, projection, head, num_heads):
    size = len(projection) // num_heads
    first = head * size
    _, _, values = qkv.chunk(3)
    read = values[first : first + size]
    write = projection[:, first : first + size]
    return write @ read


@form(score_by_chance)
def mean_of_shares(length, period):
    total = 0.0
    for t in range(period, length):
        visible = t + 1
        total = total + 1 / visible
    count = length - period
    return total / count
