"""Exercises of notebook 10: what happens inside a trained model.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, V vocab_size.
"""

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyllm.course.checking.checking import exercise, mistake
from tinyllm.course.checking.comparing import Unusable


def _with_inputs_kept(function: Callable, *arguments: Any) -> Any:
    """What is compared: the result of a function that leaves its inputs as they were."""
    before = [argument.clone() for argument in arguments if isinstance(argument, Tensor)]
    result = function(*arguments)
    after = [argument for argument in arguments if isinstance(argument, Tensor)]
    if not all(map(torch.equal, before, after)):
        raise Unusable("you change the tensor that was handed in. Work on a copy of it: .clone().")
    return result


@exercise(
    observe=_with_inputs_kept,
    cases=lambda: [
        (torch.randn(B, T, C), random.randrange(H), H) for B, T, C, H in ((1, 1, 4, 2), (2, 3, 6, 3), (1, 5, 8, 4))
    ],
    hint="A head has C / H numbers. Head 0 has the first C / H of them, head 1 the next.",
    why="Before the projection the heads lie side by side. There one of them can be silenced without the others.",
)
def switch_off(mixed: Tensor, head: int, num_heads: int) -> Tensor:
    """The heads' results side by side (B, T, C), with those of one head set to zero; `mixed` itself is left alone."""
    size = mixed.shape[-1] // num_heads
    mixed = mixed.clone()
    mixed[..., head * size : (head + 1) * size] = 0
    return mixed


@mistake(switch_off, "You count the heads from 1. Head 0 has the first numbers.")
def counts_heads_from_one(mixed: Tensor, head: int, num_heads: int) -> Tensor:
    return switch_off(mixed, (head - 1) % num_heads, num_heads)


@mistake(switch_off, "Only one number of each token is set to zero. A head has C / H of them.")
def one_number_only(mixed: Tensor, head: int, num_heads: int) -> Tensor:
    mixed = mixed.clone()
    mixed[..., head] = 0
    return mixed


@mistake(switch_off, "It is turned around: this head is kept and all others are set to zero.")
def keeps_only_this_head(mixed: Tensor, head: int, num_heads: int) -> Tensor:
    return mixed - switch_off(mixed, head, num_heads)


@mistake(switch_off, "You take every H-th number. A head's numbers stand next to each other.")
def takes_every_hth(mixed: Tensor, head: int, num_heads: int) -> Tensor:
    mixed = mixed.clone()
    mixed[..., head::num_heads] = 0
    return mixed


@exercise(
    cases=lambda: [
        (3 * torch.randn(T, C), torch.rand(C) + 0.5, torch.randn(C), torch.randn(V, C))
        for T, C, V in ((1, 4, 5), (3, 4, 7), (5, 6, 9))
    ],
    hint="What does the model do to the stream behind its last layer? The same, earlier: LayerNorm, then the head.",
    why="All layers write into one stream, in one language. So the head can read it before the last layer has written.",
)
def lens(stream: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    """Logits of the stream behind any layer: stream (T, C), final norm (C), (C), token table (V, C) -> (T, V)."""
    return F.layer_norm(stream, stream.shape[-1:], weight, bias) @ table.T


@mistake(lens, "The final norm is missing. The head has only ever seen normalised vectors.")
def forgets_the_norm(stream: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return stream @ table.T


@mistake(lens, "These are probabilities. Logits are wanted: leave out the softmax.")
def gives_probabilities(stream: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return lens(stream, weight, bias, table).softmax(-1)


@mistake(lens, "The norm's own weight and bias are missing: they were learned with the rest.")
def plain_norm(stream: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return F.layer_norm(stream, stream.shape[-1:]) @ table.T


@exercise(
    observe=_with_inputs_kept,
    cases=lambda: [
        (torch.randn(1, T, C), torch.randn(1, T, C), position)
        for T, C, position in ((2, 3, 0), (4, 2, 1), (6, 5, random.randrange(6)))
    ],
    hint="Copy the stream, then replace row `position` of it. Only that row comes from the other run.",
    why="One vector is exchanged and everything behind it is computed again: what changes now came through that place.",
)
def patch(stream: Tensor, other: Tensor, position: int) -> Tensor:
    """The stream of one run with one token's vector from another: (1, T, C) twice -> (1, T, C); neither is changed."""
    stream = stream.clone()
    stream[:, position] = other[:, position]
    return stream


@mistake(patch, "You return the other run with one vector of this one. It must be the other way round.")
def patches_the_other(stream: Tensor, other: Tensor, position: int) -> Tensor:
    return patch(other, stream, position)


@mistake(patch, "You exchange everything from that token on. Only the token itself is wanted.")
def patches_all_that_follow(stream: Tensor, other: Tensor, position: int) -> Tensor:
    return torch.cat([stream[:, :position], other[:, position:]], dim=1)


@mistake(patch, "You add the other vector. It must take the place of this one.")
def adds_the_vector(stream: Tensor, other: Tensor, position: int) -> Tensor:
    stream = stream.clone()
    stream[:, position] += other[:, position]
    return stream


@exercise(
    cases=lambda: [(torch.rand(T, T).tril().softmax(-1), period) for T, period in ((5, 2), (8, 3), (9, 4), (12, 5))],
    hint="At place t stands the same token as at t - period. What followed it stands one place later.",
    why="Looking at what followed last time, and repeating it: so a model continues a text that it has never seen.",
)
def induction_score(weights: Tensor, period: int) -> Tensor:
    """Mean attention, over all places t >= period, to place t - period + 1: weights (T, T) -> one number."""
    return torch.stack([weights[t, t - period + 1] for t in range(period, len(weights))]).mean()


@mistake(induction_score, "You look at the same token one period ago. Wanted is the token that came after it.")
def looks_at_the_token_itself(weights: Tensor, period: int) -> Tensor:
    return torch.stack([weights[t, t - period] for t in range(period, len(weights))]).mean()


@mistake(induction_score, "Rows and columns are swapped: row t is what token t looks at.")
def reads_columns(weights: Tensor, period: int) -> Tensor:
    return induction_score(weights.T, period)


@mistake(induction_score, "You look one place too early: at the token before the earlier one.")
def looks_too_early(weights: Tensor, period: int) -> Tensor:
    return torch.stack([weights[t, max(0, t - period - 1)] for t in range(period, len(weights))]).mean()


@mistake(induction_score, "This is the sum. Divide by the number of places.")
def sums_up(weights: Tensor, period: int) -> Tensor:
    return induction_score(weights, period) * (len(weights) - period)
