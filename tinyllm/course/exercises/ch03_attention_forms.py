"""Right answers of notebook 03 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch03_attention import (
    attention_weights,
    causal_average,
    causal_mask,
    mend_window,
    merge_heads,
    scores,
    split_heads,
)


@form(causal_average)
def sums_so_far(x):
    sums = x.cumsum(dim=0)
    counts = torch.arange(len(x), dtype=x.dtype)[:, None] + 1
    return sums / counts


@form(causal_average)
def row_by_row(x):
    rows = []
    for t in range(len(x)):
        seen = x[: t + 1]
        rows.append(seen.mean(dim=0))
    return torch.stack(rows)


@form(scores)
def scaled_queries(q, k):
    size = q.shape[-1]
    root = math.sqrt(size)
    queries = q / root
    keys = k.transpose(-2, -1)
    return queries @ keys


@form(causal_mask)
def rows_and_columns(length):
    rows = torch.arange(length)[:, None]
    columns = torch.arange(length)[None, :]
    return columns <= rows


@form(attention_weights)
def shares(scores, mask):
    shown = scores.masked_fill(~mask, -torch.inf)
    largest = shown.max(dim=-1, keepdim=True).values
    parts = (shown - largest).exp()
    total = parts.sum(dim=-1, keepdim=True)
    return parts / total


@form(split_heads)
def cut_and_stacked(x, num_heads):
    size = x.shape[-1] // num_heads
    heads = [x[..., head * size : (head + 1) * size] for head in range(num_heads)]
    return torch.stack(heads, dim=1)


@form(merge_heads)
def side_by_side(x):
    heads = [x[:, head] for head in range(x.shape[1])]
    return torch.cat(heads, dim=-1)


@form(mend_window)
def by_distance(q, k, v, window):
    rows = torch.arange(q.shape[-2])[:, None]
    columns = torch.arange(q.shape[-2])[None, :]
    distance = rows - columns
    mask = (distance >= 0) & (distance < window)
    fits = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = fits.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return weights @ v
