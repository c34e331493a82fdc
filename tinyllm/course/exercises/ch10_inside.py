"""Exercises of notebook 10: what happens inside a trained model.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, V vocab_size.
"""

import random
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.checking.registry import Function, exercise


def _with_inputs_kept(function: Function, *arguments: Any) -> Any:
    """What is compared: the result of a function that leaves its inputs as they were."""
    before = [argument.clone() for argument in arguments if isinstance(argument, Tensor)]
    result = function(*arguments)
    after = [argument for argument in arguments if isinstance(argument, Tensor)]
    if not all(map(torch.equal, before, after)):
        raise Unusable("you change the tensor that was passed in. Work on a copy of it: .clone().")
    return result


@exercise(
    gradients=False,
    observe=_with_inputs_kept,
    cases=lambda: [
        (torch.randn(B, T, C), random.randrange(H), H) for B, T, C, H in ((1, 1, 4, 2), (2, 3, 6, 3), (1, 5, 8, 4))
    ],
    hint="A head has C / H numbers. Head 0 has the first C / H of them, head 1 the next.",
    why="Before the projection the heads are side by side. There one of them can be silenced without the others.",
)
def switch_off(mixed: Float[Tensor, "B T C"], head: int, num_heads: int) -> Float[Tensor, "B T C"]:
    """The heads' results side by side, with those of one head set to zero; `mixed` itself is not changed."""
    size = mixed.shape[-1] // num_heads
    mixed = mixed.clone()
    mixed[..., head * size : (head + 1) * size] = 0
    return mixed


@exercise(
    gradients=False,
    cases=lambda: [
        (3 * torch.randn(T, C), torch.rand(C) + 0.5, torch.randn(C), torch.randn(V, C))
        for T, C, V in ((1, 4, 5), (3, 4, 7), (5, 6, 9))
    ],
    hint="What does the model do to the stream after its last layer? The same, earlier: LayerNorm, then the head.",
    why="All layers write into one stream, in one language. So the head can read it before the last layer has written.",
)
def lens(
    stream: Float[Tensor, "T C"], weight: Float[Tensor, " C"], bias: Float[Tensor, " C"], table: Float[Tensor, "V C"]
) -> Float[Tensor, "T V"]:
    """Logits of the stream after any layer, with the final norm's weight and bias and the token table."""
    return F.layer_norm(stream, stream.shape[-1:], weight, bias) @ table.T


@exercise(
    gradients=False,
    observe=_with_inputs_kept,
    cases=lambda: [
        (torch.randn(1, T, C), torch.randn(1, T, C), position)
        for T, C, position in ((2, 3, 0), (4, 2, 1), (6, 5, random.randrange(6)))
    ],
    hint="Copy the stream, then replace row `position` of it. Only that row comes from the other run.",
    why="One vector is exchanged and everything after it is computed again: what changes came through that position.",
)
def patch(stream: Float[Tensor, "1 T C"], other: Float[Tensor, "1 T C"], position: int) -> Float[Tensor, "1 T C"]:
    """The stream of one run with one token's vector from another; neither is changed."""
    stream = stream.clone()
    stream[:, position] = other[:, position]
    return stream


@exercise(
    gradients=False,
    cases=lambda: [(torch.rand(T, T).tril().softmax(-1), period) for T, period in ((5, 2), (8, 3), (9, 4), (12, 5))],
    hint="Position t has the same token as t - period. What followed it is one position later.",
    why="Finding what followed last time, and repeating it: that is how a model continues a text it has never seen.",
)
def induction_score(weights: Float[Tensor, "T T"], period: int) -> Float[Tensor, ""]:
    """Mean attention, over all positions t >= period, to position t - period + 1."""
    return torch.stack([weights[t, t - period + 1] for t in range(period, len(weights))]).mean()
