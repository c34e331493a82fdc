"""Exercises of notebook 10: what happens inside a trained model.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, V vocab_size.
"""

import random
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.comparing import dense
from tinyllm.course.checking.registry import Function, exercise
from tinyllm.model.gpt import GPT


@exercise(
    gradients=False,
    cases=lambda: [
        (torch.randn(B, T, H * D), head, H)
        for B, T, D, H, head in (
            (1, 1, 2, 2, 1),
            (2, 3, 2, 3, 0),
            (1, 5, 2, 4, random.randrange(4)),
            (3, 2, 3, 5, 4),
            (2, 4, 5, 12, 10),
            (2, 2, 3, 1, 0),
        )
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
        (size * torch.randn(T, C) + 1, torch.randn(C), torch.randn(C), torch.randn(V, C))
        for size, T, C, V in ((3, 1, 4, 5), (3, 3, 4, 7), (1, 5, 6, 9), (300, 2, 7, 3), (0.5, 12, 3, 11))
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
    cases=lambda: [
        (torch.randn(B, T, C), torch.randn(B, T, C), position)
        for B, T, C, position in (
            (1, 2, 3, 0),
            (1, 4, 2, 1),
            (2, 6, 5, random.randrange(6)),
            (3, 5, 4, 4),
            (1, 1, 3, 0),
        )
    ],
    hint="Copy the stream, then replace row `position` of it. Only that row comes from the other run.",
    why="One vector is exchanged and everything after it is computed again: what changes came through that position.",
)
def patch(stream: Float[Tensor, "B T C"], other: Float[Tensor, "B T C"], position: int) -> Float[Tensor, "B T C"]:
    """The stream of one run with one token's vector from another; neither is changed."""
    stream = stream.clone()
    stream[:, position] = other[:, position]
    return stream


@exercise(
    gradients=False,
    cases=lambda: [
        ((3 * torch.randn(T, T)).masked_fill(torch.ones(T, T).triu(1) > 0, -torch.inf).softmax(-1), period)
        for T, period in ((5, 2), (8, 3), (9, 4), (30, 11), (12, random.randint(5, 7)), (7, 1), (6, 5))
    ],
    hint="Position t has the same token as t - period. What followed it is one position later.",
    why="Finding what followed last time, and repeating it: that is how a model continues a text it has never seen.",
)
def induction_score(weights: Float[Tensor, "T T"], period: int) -> Float[Tensor, ""]:
    """Mean attention, over all positions t >= period, to position t - period + 1."""
    return torch.stack([weights[t, t - period + 1] for t in range(period, len(weights))]).mean()


def _with_or_without_eps(function: Function, parts: Tensor, stream: Tensor, weight: Tensor, direction: Tensor) -> Any:
    """LayerNorm adds 1e-5 to the variance. An answer may do so or not: in float64 the two differ."""
    result = function(parts, stream, weight, direction)
    if not isinstance(result, Tensor) or not result.is_floating_point():
        return result
    right = attribution(parts, stream, weight, direction)
    with_eps = right * (1 + 1e-5 / stream.var(unbiased=False)) ** -0.5
    digits = 1e-9 if result.dtype == torch.float64 else 1e-5
    alike = result.shape == right.shape and torch.allclose(result.to(right.dtype), with_eps, rtol=digits, atol=digits)
    return right if alike else result


@exercise(
    gradients=False,
    observe=_with_or_without_eps,
    cases=lambda: [
        (size * torch.randn(N, C) + 1, N * size * torch.randn(C) + 1, torch.randn(C), torch.randn(C))
        for size, N, C in ((1, 2, 4), (3, 1, 6), (0.5, 5, 3), (40, 4, 12), (2, 3, 7))
    ],
    hint="The logits read norm(stream) = (stream - its mean) / its standard deviation * weight. What of that does one "
    "part give? Its own mean goes; the standard deviation is the whole stream's.",
    why="With its scale held fixed the norm is linear. So a logit is a sum, and each part of the stream has a share.",
)
def attribution(
    parts: Float[Tensor, "N C"],
    stream: Float[Tensor, " C"],
    weight: Float[Tensor, " C"],
    direction: Float[Tensor, " C"],
) -> Float[Tensor, " N"]:
    """What each part gives to the difference of two logits, through a final LayerNorm at the stream's own scale."""
    centred = parts - parts.mean(-1, keepdim=True)
    return (centred / stream.std(unbiased=False) * weight) @ direction


@exercise(
    gradients=False,
    cases=lambda: [
        (torch.randn(3 * H * D, H * D), torch.randn(H * D, H * D), head, H)
        for D, H, head in ((2, 2, 1), (3, 2, 0), (2, 4, random.randrange(4)), (1, 3, 2), (4, 1, 0))
    ],
    hint="qkv.weight has the queries' C rows, then the keys', then the values'. Among the values' rows a head has D. "
    "Its D numbers then meet D columns of the projection.",
    why="A head reads with D rows and writes with D columns. Their product says what it copies, whatever it looks at.",
)
def ov_circuit(
    qkv: Float[Tensor, "three_C C"], projection: Float[Tensor, "C C"], head: int, num_heads: int
) -> Float[Tensor, "C C"]:
    """W_O W_V of one head: the matrix that turns a vector it looks at into the vector it adds to the stream."""
    C = len(projection)
    D = C // num_heads
    own = slice(head * D, (head + 1) * D)
    return projection[:, own] @ qkv[2 * C :][own]


class Stack(nn.Module):
    """A model with `blocks` that hand on a stream, as GPT has them."""

    def __init__(self, num_layers: int, C: int, V: int = 7):
        super().__init__()
        self.embedding = nn.Embedding(V, C)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(C, C), nn.Tanh()) for _ in range(num_layers))
        self.head = nn.Linear(C, V)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x)
        return logits


def _streams_and_hooks(function: Function, model: Stack | GPT, ids: Tensor) -> dict[str, Any]:
    """What comes back, and what stays on the model."""
    model.register_forward_hook(lambda *_: None)
    model.blocks[0].register_forward_hook(lambda *_: None)  # somebody else's, which stay
    streams = function(model, ids)
    hooks = -2 + sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())
    return {
        "the streams": list(dense(streams)) if isinstance(streams, Tensor) else streams,  # stacked is as good
        "the number of hooks left on the model": hooks,
    }


@exercise(
    gradients=False,
    cases=lambda: [
        (Stack(num_layers, C).train(num_layers < 3), torch.randint(7, (B, T)))
        for num_layers, B, T, C in ((2, 1, 3, 4), (1, 1, 2, 3), (3, 2, 5, 4), (12, 2, 1, 5))
    ],
    observe=_streams_and_hooks,
    hint="Print `number` inside `keep`, for a model with three layers. When is it looked up? And how many hooks are "
    "made, how many removed?",
    why="A function inside a function looks a name up when it runs, not when it is made: by then the loop has ended. "
    "A list that grows needs no number. And each hook has a handle of its own.",
)
def mend_streams(model: Stack | GPT, ids: Int[Tensor, "B T"]) -> list[Float[Tensor, "B T C"]]:
    """What the first of `model.blocks` is given, and what each of them returns: L + 1 streams. No hook stays."""
    seen: list[Tensor] = []
    hooks = [model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]
    hooks += [block.register_forward_hook(lambda _, __, output: seen.append(output)) for block in model.blocks]
    model(ids)
    for hook in hooks:
        hook.remove()
    return seen


def _judge_chance(function: Function, length: int, period: int) -> Any:
    known = (1 / length, 1 / period, 1 / (period + 1), 1 / (length - period))
    right = score_by_chance(length, period)
    return settle(function(length, period), right, *known, right * (length - period))


@exercise(
    draws=True,
    cases=lambda: [
        (length, period) for length, period in ((40, 10), (12, 5), (100, 3), (2, 1), (60, random.randint(8, 30)))
    ],
    observe=_judge_chance,
    hint="Token t may see t + 1 tokens, itself included. How much does each of them get on average, if the head knows "
    "nothing? Then take the mean over the tokens that count.",
    why="Without any knowledge each visible token gets an equal share on average, 1 / (t + 1). Early rows have large "
    "shares. A head has learned something only if it scores well above their mean.",
)
def score_by_chance(length: int, period: int) -> float:
    """The mean induction score of causal heads that know nothing, on `length` tokens."""
    return sum(1 / (t + 1) for t in range(period, length)) / (length - period)
