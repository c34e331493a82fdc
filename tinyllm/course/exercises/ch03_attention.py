"""Exercises of notebook 03: how a token looks back.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, D head_dim.
"""

import math
import random

import torch
from torch import Tensor

from tinyllm.course.checking.checking import exercise, mistake


@exercise(
    cases=lambda: [(torch.randn(T, C),) for T, C in ((2, 1), (3, 2), (4, 3), (1, 4), (7, 5))],
    hint="Row t of the result is the mean of x[: t + 1]. A loop over t is a fine first answer.",
    why="A (T, T) matrix of weights does all rows at once. Attention keeps this form and computes the weights itself.",
)
def causal_average(x: Tensor) -> Tensor:
    """Each row becomes the mean of itself and all rows before it: (T, C) -> (T, C)."""
    T = len(x)
    weights = torch.ones(T, T).tril()  # row t has t + 1 ones
    weights = weights / weights.sum(dim=1, keepdim=True)
    return weights @ x


@mistake(
    causal_average,
    "Each row leaves itself out. x[:t] ends before row t; x[: t + 1] holds it. The first row has only itself.",
)
def leaves_itself_out(x: Tensor) -> Tensor:
    return torch.stack([x[:t].mean(dim=0) if t else torch.zeros_like(x[0]) for t in range(len(x))])


@mistake(causal_average, "Each row leaves itself out, so the first one is a mean of nothing (NaN). Take x[: t + 1].")
def leaves_itself_out_and_divides_by_nothing(x: Tensor) -> Tensor:
    return torch.stack([x[:t].mean(dim=0) for t in range(len(x))])


@mistake(causal_average, "Your rows see the future: each is the mean of all rows. Row t may use the rows 0 to t only.")
def sees_the_future(x: Tensor) -> Tensor:
    return x.mean(dim=0, keepdim=True).expand_as(x)


@mistake(causal_average, "The order is turned around: row t averages itself and what comes after it, not before.")
def averages_backwards(x: Tensor) -> Tensor:
    return torch.stack([x[t:].mean(dim=0) for t in range(len(x))])


@mistake(causal_average, "These are sums. Divide row t by the number of rows in it, t + 1.")
def sums(x: Tensor) -> Tensor:
    return x.cumsum(dim=0)


@exercise(
    cases=lambda: [
        (torch.randn(B, H, T, D), torch.randn(B, H, T, D))
        for B, H, T, D in ((1, 1, 2, 2), (1, 2, 3, 2), (2, 2, 3, 4), (2, 3, 5, 4))
    ],
    hint="Each query meets each key in a dot product of D numbers: which two dimensions of k must change places?",
    why="A dot product of D random numbers has a spread of the root of D. Divided by it, the scores start at a spread "
    "of 1, and the softmax starts soft.",
)
def scores(q: Tensor, k: Tensor) -> Tensor:
    """How well each query fits each key: (B, H, T, D) twice -> (B, H, T, T), divided by the root of D."""
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


@mistake(
    scores,
    "You divide by the root of the whole width H D. A dot product here has only D numbers: the head's width, "
    "q.shape[-1].",
)
def divides_by_the_width(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[1] * q.shape[-1])


@mistake(scores, "The products are right, but not divided by the root of D.")
def does_not_divide(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1)


@mistake(scores, "You divide by D. Its root is wanted: the spread of a dot product grows with the root of D.")
def divides_by_the_square(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1) / q.shape[-1]


@mistake(
    scores,
    "k is not transposed, so the shapes do not fit. (T, D) times (D, T) gives (T, T): swap the last two dimensions of "
    "k, as in k.transpose(-2, -1).",
)
def does_not_transpose(q: Tensor, k: Tensor) -> Tensor:
    return q @ k / math.sqrt(q.shape[-1])


@mistake(scores, "Rows and columns are swapped. Row t belongs to query t: q comes first in the product.")
def swaps_queries_and_keys(q: Tensor, k: Tensor) -> Tensor:
    return k @ q.transpose(-2, -1) / math.sqrt(q.shape[-1])


@mistake(scores, "You multiply number by number. A score is one dot product of a whole query with a whole key: use @.")
def multiplies_elementwise(q: Tensor, k: Tensor) -> Tensor:
    return q * k / math.sqrt(q.shape[-1])


@exercise(
    cases=lambda: [(length,) for length in (1, 2, 3, 5, random.randint(6, 9))],
    hint="Row t may look at the columns 0 to t. Which triangle of a square is that, and does the diagonal belong to "
    "it?",
    why="The lower triangle with the diagonal: a token sees itself and what came before. One matrix serves every text.",
)
def causal_mask(length: int) -> Tensor:
    """Where a row may look: (T, T) of bool, True in row t at the columns 0 to t."""
    return torch.ones(length, length, dtype=torch.bool).tril()


@mistake(
    causal_mask,
    "It is upside down: row t looks at itself and at what comes later. The lower triangle is wanted, tril.",
)
def upside_down(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).triu()


@mistake(causal_mask, "It hides the diagonal: a token may see itself too, and the first one has nothing else to see.")
def hides_the_diagonal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril(-1)


@mistake(causal_mask, "True and False are swapped: True marks where a row may look, not what is hidden from it.")
def inverted(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).triu(1)


@mistake(
    causal_mask, "The diagonal above is open too: each row sees one token of the future. tril() needs no argument."
)
def sees_one_ahead(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril(1)


@mistake(causal_mask, "The places are right, but the mask must hold True and False: add dtype=torch.bool or .bool().")
def holds_numbers(length: int) -> Tensor:
    return torch.ones(length, length).tril()


@exercise(
    cases=lambda: [_scores_and_mask(*shape) for shape in ((2, 2), (4, 4), (2, 4, 4), (2, 3, 5, 5))],
    hint="What score becomes the weight 0 in a softmax? And along which dimension must the weights of a row add up "
    "to 1?",
    why="exp(-inf) is 0. Hidden before the softmax, the other weights of a row share the whole 1 among themselves.",
)
def attention_weights(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores (..., T, T) to weights (..., T, T): each row adds up to 1, with 0 wherever the mask (T, T) is False."""
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)


@mistake(
    attention_weights,
    "You hide after the softmax, so the rows no longer add up to 1. Set the hidden scores to -inf before it.",
)
def hides_after_the_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.softmax(dim=-1) * mask


@mistake(
    attention_weights,
    "The softmax runs down the columns. A row holds the weights of one query: take the last dimension, dim=-1.",
)
def softmax_down_the_columns(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-2)


@mistake(attention_weights, "The mask is not used: places where it is False have weight too.")
def ignores_the_mask(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.softmax(dim=-1)


@mistake(
    attention_weights, "The mask is used the wrong way round: you hide where it is True. Fill where it is False, ~mask."
)
def hides_the_visible(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(mask, -torch.inf).softmax(dim=-1)


@mistake(
    attention_weights,
    "Hidden scores are set to 0, and exp(0) is 1: they still get weight. Only -inf becomes 0 in a softmax.",
)
def fills_with_zero(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, 0).softmax(dim=-1)


def _scores_and_mask(*shape: int) -> tuple[Tensor, Tensor]:
    """The causal mask, with a few more places hidden: the mask to use is the one that is given."""
    T = shape[-1]
    hidden = torch.rand(T, T).tril(-1) > 0.7  # never the diagonal: each row keeps a token to look at
    return 2 * torch.randn(shape), torch.ones(T, T, dtype=torch.bool).tril() & ~hidden


@exercise(
    cases=lambda: [
        (torch.randn(B, T, H * D), H) for B, T, H, D in ((1, 2, 2, 3), (1, 3, 2, 1), (2, 3, 2, 3), (2, 5, 3, 4))
    ],
    hint="Two steps. First cut the last dimension into two, (B, T, H, D). Then let the heads and the tokens change "
    "places.",
    why="view only reads the same numbers in another shape. Moving heads before tokens is a second step, transpose.",
)
def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Cut each token's C numbers into H heads of D: (B, T, C) -> (B, H, T, D)."""
    B, T, C = x.shape
    return x.view(B, T, num_heads, C // num_heads).transpose(1, 2)


@mistake(
    split_heads,
    "The shape is right, the numbers are not: one view straight to (B, H, T, D) mixes the tokens. View as "
    "(B, T, H, D), then transpose(1, 2).",
)
def views_without_transposing(x: Tensor, num_heads: int) -> Tensor:
    B, T, C = x.shape
    return x.reshape(B, num_heads, T, C // num_heads)


@mistake(
    split_heads,
    "Heads and head size are swapped: each token is cut into D parts of H. Cut it into num_heads parts of "
    "C // num_heads.",
)
def swaps_heads_and_size(x: Tensor, num_heads: int) -> Tensor:
    B, T, C = x.shape
    return x.view(B, T, C // num_heads, num_heads).transpose(1, 2)


@mistake(split_heads, "The heads hold every H-th number of a token. A head is a run of D neighbours: view(B, T, H, D).")
def takes_every_hth_number(x: Tensor, num_heads: int) -> Tensor:
    B, T, C = x.shape
    return x.view(B, T, C // num_heads, num_heads).permute(0, 3, 1, 2)


@mistake(split_heads, "The tokens still come before the heads: (B, T, H, D). One transpose(1, 2) is missing.")
def does_not_move_the_heads(x: Tensor, num_heads: int) -> Tensor:
    B, T, C = x.shape
    return x.view(B, T, num_heads, C // num_heads)


@exercise(
    cases=lambda: [(torch.randn(shape),) for shape in ((1, 2, 2, 3), (1, 2, 3, 1), (2, 2, 3, 3), (2, 3, 5, 4))],
    hint="It is split_heads backwards: undo its last step first. The result must be the input of split_heads again.",
    why="After a transpose the numbers no longer lie in reading order, so view refuses and reshape copies them.",
)
def merge_heads(x: Tensor) -> Tensor:
    """Put the heads of each token side by side again: (B, H, T, D) -> (B, T, C) with C = H D."""
    B, H, T, D = x.shape
    return x.transpose(1, 2).reshape(B, T, H * D)


@mistake(
    merge_heads,
    "The shape is right, the numbers are not: parts of different tokens came together. Transpose heads and tokens "
    "first.",
)
def reshapes_without_transposing(x: Tensor) -> Tensor:
    B, H, T, D = x.shape
    return x.reshape(B, T, H * D)


@mistake(merge_heads, "You add the heads up. They stand side by side: the width becomes H D, not D.")
def adds_the_heads(x: Tensor) -> Tensor:
    return x.sum(dim=1)


@mistake(merge_heads, "You take the mean of the heads. They stand side by side: the width becomes H D, not D.")
def averages_the_heads(x: Tensor) -> Tensor:
    return x.mean(dim=1)


@mistake(
    merge_heads,
    "view cannot read transposed numbers in a new shape. reshape copies them where that is needed.",
)
def views_what_is_transposed(x: Tensor) -> Tensor:
    B, H, T, D = x.shape
    return x.transpose(1, 2).view(B, T, H * D)


@mistake(
    merge_heads, "The numbers of the heads alternate. Transpose heads and tokens, dimensions 1 and 2, and no others."
)
def alternates_the_heads(x: Tensor) -> Tensor:
    B, H, T, D = x.shape
    return x.permute(0, 2, 3, 1).reshape(B, T, H * D)
