"""What learners usually get wrong in notebook 03. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch03_attention import (
    attention_weights,
    causal_average,
    causal_mask,
    measure_spread,
    mend_window,
    merge_heads,
    scores,
    split_heads,
)

# causal_average

mistake(
    causal_average,
    "The softmax of ones and zeros gives later rows some weight too: exp(0) is 1. Divide each row by its sum, or put "
    "-inf where the zeros are.",
    lambda x: torch.ones(len(x), len(x), dtype=x.dtype).tril().softmax(dim=1) @ x,
)

mistake(
    causal_average,
    "Each row leaves itself out. x[:t] ends before row t; x[: t + 1] includes it. The first row has only itself.",
    lambda x: torch.stack([x[:t].mean(dim=0) if t else torch.zeros_like(x[0]) for t in range(len(x))]),
)

mistake(
    causal_average,
    "Each row leaves itself out, so the first one is a mean of nothing (NaN). Take x[: t + 1].",
    lambda x: torch.stack([x[:t].mean(dim=0) for t in range(len(x))]),
)

mistake(
    causal_average,
    "All rows but the first leave themselves out. Row t is the mean of itself and all before it: x[: t + 1].",
    lambda x: torch.stack([x[: max(t, 1)].mean(dim=0) for t in range(len(x))]),
)

mistake(
    causal_average,
    "Your rows see the future: each is the mean of all rows. Row t may use rows 0 to t only.",
    lambda x: x.mean(dim=0, keepdim=True).expand_as(x),
)

mistake(
    causal_average,
    "The order is reversed: row t averages itself and what comes after it, not before.",
    lambda x: torch.stack([x[t:].mean(dim=0) for t in range(len(x))]),
)

mistake(
    causal_average,
    "These are sums. Divide row t by the number of rows in it, t + 1.",
    lambda x: x.cumsum(dim=0),
)

mistake(
    causal_average,
    "You divide by the number of all rows, T. Row t has only t + 1 of them.",
    lambda x: x.cumsum(dim=0) / len(x),
)

mistake(
    causal_average,
    "You take the largest so far. Take the mean.",
    lambda x: x.cummax(dim=0).values,
)


@mistake(
    causal_average,
    "You average the last average with the new row, so the newest row counts half. All rows so far count alike.",
)
def half_for_the_newest(x):
    rows = [x[0]]
    for row in x[1:]:
        rows.append((rows[-1] + row) / 2)
    return torch.stack(rows)


# scores

mistake(
    scores,
    "You divide by the root of the whole width H D. A dot product here has only D numbers: the head's width, "
    "q.shape[-1].",
    lambda q, k: q @ k.transpose(-2, -1) / math.sqrt(q.shape[1] * q.shape[-1]),
)

mistake(
    scores,
    "The products are right, but not divided by the root of D.",
    lambda q, k: q @ k.transpose(-2, -1),
)

mistake(
    scores,
    "You divide by D. Divide by its root: the standard deviation of a dot product grows with the root of D.",
    lambda q, k: q @ k.transpose(-2, -1) / q.shape[-1],
)

mistake(
    scores,
    "You divide by the root of T, the number of tokens. A dot product adds up D numbers: q.shape[-1].",
    lambda q, k: q @ k.transpose(-2, -1) / math.sqrt(q.shape[-2]),
)

mistake(
    scores,
    "k is not transposed, so the shapes do not fit. (T, D) times (D, T) gives (T, T): swap the last two dimensions of "
    "k, as in k.transpose(-2, -1).",
    lambda q, k: q @ k / math.sqrt(q.shape[-1]),
)

mistake(
    scores,
    "Rows and columns are swapped. Row t belongs to query t: q comes first in the product.",
    lambda q, k: k @ q.transpose(-2, -1) / math.sqrt(q.shape[-1]),
)

mistake(
    scores,
    "You multiply elementwise. A score is one dot product of a whole query with a whole key: use @.",
    lambda q, k: q * k / math.sqrt(q.shape[-1]),
)

mistake(
    scores,
    "Queries and keys are divided by their lengths, so these are cosines. Divide the product by the root of D.",
    lambda q, k: torch.nn.functional.normalize(q, dim=-1) @ torch.nn.functional.normalize(k, dim=-1).mT,
)


# causal_mask

mistake(
    causal_mask,
    "It is upside down: row t attends to itself and to what comes later. Take the lower triangle, tril.",
    lambda length: torch.ones(length, length, dtype=torch.bool).triu(),
)

mistake(
    causal_mask,
    "It hides the diagonal: a token may see itself too, and the first one has nothing else to see.",
    lambda length: torch.ones(length, length, dtype=torch.bool).tril(-1),
)

mistake(
    causal_mask,
    "True and False are swapped: True marks what a row may see, not what is hidden from it.",
    lambda length: torch.ones(length, length, dtype=torch.bool).triu(1),
)

mistake(
    causal_mask,
    "The diagonal above the main one is open too: each row sees one token of the future. tril() needs no argument.",
    lambda length: torch.ones(length, length, dtype=torch.bool).tril(1),
)

mistake(
    causal_mask,
    "The positions are right, but the values must be True and False: add dtype=torch.bool or .bool().",
    lambda length: torch.ones(length, length).tril(),
)


# attention_weights

mistake(
    attention_weights,
    "You hide after the softmax, so the rows no longer add up to 1. Set the hidden scores to -inf before it.",
    lambda scores, mask: scores.softmax(dim=-1) * mask,
)

mistake(
    attention_weights,
    "The softmax runs down the columns. A row has the weights of one query: take the last dimension, dim=-1.",
    lambda scores, mask: scores.masked_fill(~mask, -torch.inf).softmax(dim=-2),
)

mistake(
    attention_weights,
    "The mask is not used: positions where it is False get weight too.",
    lambda scores, mask: scores.softmax(dim=-1),
)

mistake(
    attention_weights,
    "The mask is used the wrong way round: you hide where it is True. Fill where it is False, ~mask.",
    lambda scores, mask: scores.masked_fill(mask, -torch.inf).softmax(dim=-1),
)

mistake(
    attention_weights,
    "Hidden scores are set to 0, and exp(0) is 1: they still get weight. Only -inf becomes 0 in a softmax.",
    lambda scores, mask: scores.masked_fill(~mask, 0).softmax(dim=-1),
)

mistake(
    attention_weights,
    "You make a causal mask of your own. Use the mask that is given: it may hide more.",
    lambda scores, mask: scores.masked_fill(torch.ones_like(mask).triu(1), -torch.inf).softmax(dim=-1),
)

mistake(
    attention_weights,
    "All of a row's weight is on its largest score. The softmax shares it among all that may be seen.",
    lambda scores, mask: torch.zeros_like(scores).scatter(
        -1, scores.masked_fill(~mask, -torch.inf).argmax(-1, keepdim=True), 1.0
    ),
)

mistake(
    attention_weights,
    "All that may be seen gets the same weight. The scores say how much each gets.",
    lambda scores, mask: (mask / mask.sum(-1, keepdim=True)).to(scores.dtype).expand_as(scores),
)


# split_heads


@mistake(
    split_heads,
    "The shape is right, the numbers are not: one view straight to (B, H, T, D) mixes the tokens. View as (B, T, H, "
    "D), then transpose(1, 2).",
)
def views_without_transposing(x, num_heads):
    B, T, C = x.shape
    return x.reshape(B, num_heads, T, C // num_heads)


@mistake(
    split_heads,
    "Heads and head size are swapped: each token is cut into D parts of H. Cut it into num_heads parts of C // "
    "num_heads.",
)
def swaps_heads_and_size(x, num_heads):
    B, T, C = x.shape
    return x.view(B, T, C // num_heads, num_heads).transpose(1, 2)


@mistake(
    split_heads,
    "Each head takes every H-th number of a token. A head is a run of D neighbours: view(B, T, H, D).",
)
def takes_every_hth_number(x, num_heads):
    B, T, C = x.shape
    return x.view(B, T, C // num_heads, num_heads).permute(0, 3, 1, 2)


@mistake(
    split_heads,
    "The tokens still come before the heads: (B, T, H, D). A transpose(1, 2) is missing.",
)
def does_not_move_the_heads(x, num_heads):
    B, T, C = x.shape
    return x.view(B, T, num_heads, C // num_heads)


# merge_heads


@mistake(
    merge_heads,
    "The shape is right, the numbers are not: parts of different tokens are mixed. Transpose heads and tokens first.",
)
def reshapes_without_transposing(x):
    B, H, T, D = x.shape
    return x.reshape(B, T, H * D)


mistake(
    merge_heads,
    "You add up the heads. They belong side by side: the width becomes H D, not D.",
    lambda x: x.sum(dim=1),
)

mistake(
    merge_heads,
    "You take the mean of the heads. They belong side by side: the width becomes H D, not D.",
    lambda x: x.mean(dim=1),
)


@mistake(
    merge_heads,
    "view cannot give transposed data a new shape. reshape copies it where that is needed.",
)
def views_what_is_transposed(x):
    B, H, T, D = x.shape
    return x.transpose(1, 2).view(B, T, H * D)


@mistake(
    merge_heads,
    "The numbers of the heads alternate. Transpose heads and tokens, dimensions 1 and 2, and no others.",
)
def alternates_the_heads(x):
    B, H, T, D = x.shape
    return x.permute(0, 2, 3, 1).reshape(B, T, H * D)


# measure_spread

mistake(
    measure_spread,
    "That is the variance, which grows like D. The standard deviation is its root.",
    lambda D: (torch.randn(4000, D) * torch.randn(4000, D)).sum(dim=1).var().item(),
)

mistake(
    measure_spread,
    "Your number is about 1, whatever D is: the D products of a pair are not added up, or already divided by the root "
    "of D.",
    lambda D: (torch.randn(4000, D) * torch.randn(4000, D)).std().item(),
)

mistake(
    measure_spread,
    "That is the mean distance from zero. The standard deviation is the root of the mean square: `std`.",
    lambda D: (torch.randn(4000, D) * torch.randn(4000, D)).sum(dim=1).abs().mean().item(),
)

mistake(
    measure_spread,
    "That fits numbers between 0 and 1, from torch.rand. Queries and keys come from torch.randn here.",
    lambda D: (torch.rand(4000, D) * torch.rand(4000, D)).sum(dim=1).std().item(),
)


# mend_window


def _attend(q, k, v, open_columns):
    """Attention through a mask: the columns that each row may see."""
    T = q.shape[-2]
    mask = torch.zeros(T, T, dtype=torch.bool)
    for row in range(T):
        mask[row, open_columns(row)] = True
    return attention_weights(scores(q, k), mask) @ v


@mistake(
    mend_window,
    "Some early row still sees a later token, or the function fails for a short text. What column is row - back in row "
    "0?",
)
def counts_from_the_end(q, k, v, window):
    return _attend(q, k, v, lambda row: [row - back for back in range(window)])


mistake(
    mend_window,
    "Only rows with a full window see anything; the others get NaN. They see what there is.",
    lambda q, k, v, window: _attend(
        q, k, v, lambda row: [row - back for back in range(window)] if row >= window - 1 else []
    ),
)

mistake(
    mend_window,
    "Each row sees all tokens before it. The window has an end: itself and window - 1 more.",
    lambda q, k, v, window: _attend(q, k, v, lambda row: list(range(row + 1))),
)

mistake(
    mend_window,
    "The window is one token too wide: a token itself is one of the `window` tokens.",
    lambda q, k, v, window: _attend(q, k, v, lambda row: list(range(max(0, row - window), row + 1))),
)

mistake(
    mend_window,
    "The window is one token too narrow: it has itself and window - 1 tokens before it.",
    lambda q, k, v, window: _attend(q, k, v, lambda row: [row, *range(max(0, row - window + 2), row)]),
)


@mistake(
    mend_window,
    "Your window reaches into the future as far as into the past. A token sees itself and what came before.",
)
def both_ways(q, k, v, window):
    rows = torch.arange(q.shape[-2])
    mask = (rows[:, None] - rows).abs() < window
    return (scores(q, k).masked_fill(~mask, -torch.inf).softmax(-1)) @ v
