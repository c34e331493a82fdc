"""Exercises of notebook 05: from layers to a model.

Shape letters: B batch, T time (tokens), C embedding_dim, V vocab_size, L layers, F feedforward_dim.
"""

import math
import random
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.course.checking.registry import exercise


@exercise(
    cases=lambda: [
        (torch.randint(V, (B, T)), torch.randn(V, C), torch.randn(T + 3, C))
        for B, T, V, C in ((1, 2, 3, 2), (2, 3, 5, 2), (3, 3, 5, 4), (3, 5, 9, 4))
    ],
    hint="Indexing a table with the ids gives (B, T, C). Which rows of the position table do T tokens need, and which "
    "of the two shapes has no B?",
    why="Attention itself is blind to order. Adding one learned row for each position tells every token where it is.",
)
def embed(
    token_ids: Int[Tensor, "B T"], token_table: Float[Tensor, "V C"], position_table: Float[Tensor, "context_length C"]
) -> Float[Tensor, "B T C"]:
    """Each token's row plus its position's row."""
    T = token_ids.shape[1]
    return token_table[token_ids] + position_table[:T]  # the same positions for each of the B rows


@exercise(
    cases=lambda: [
        tuple(random.randint(2, 9) for _ in range(5)),
        tuple(random.randint(10, 99) for _ in range(5)),
        (1024, 160, 192, 2, 768),
        (50_257, 512, 512, 8, 2048),
    ],
    hint="Count a block on paper first: two norms, the four matrices, and a bias for each output. Then what is "
    "outside the blocks.",
    why="With this one formula memorised you can size a model before you build it. For wide models 12 C C per layer "
    "is most of it.",
)
def parameter_count(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    """The count of learned numbers, biases included. The head is the token table, so it counts once."""
    C, F = embedding_dim, feedforward_dim
    embeddings = vocab_size * C + context_length * C
    norm = 2 * C  # weight and bias
    attention = (C * 3 * C + 3 * C) + (C * C + C)  # queries, keys and values; the projection
    feedforward = (C * F + F) + (F * C + C)
    block = norm + attention + norm + feedforward
    return embeddings + num_layers * block + norm


_NAMES = (
    "blocks.0.attention.projection.weight",
    "blocks.1.feedforward.projection.weight",
    "blocks.0.attention.qkv.weight",
    "blocks.1.feedforward.expand.weight",
    "token_embedding.weight",
    "position_embedding.weight",
)


@exercise(
    cases=lambda: [(name, random.randint(2, 24)) for name in _NAMES],
    hint="How many times is something added to the stream in L layers? A sum of n independent numbers has n times the "
    "variance of one.",
    why="Each layer adds two results to the stream. With this factor, GPT-2's, their sum has the same standard "
    "deviation at any depth.",
)
def init_std(name: str, num_layers: int) -> float:
    """The standard deviation of a matrix's initial values: 0.02, but less for a projection into the residual stream.

    There it is 0.02 / sqrt(2 L): each of the L layers has two of these, so the stream does not grow with depth.
    """
    return 0.02 / math.sqrt(2 * num_layers) if "projection" in name else 0.02


@exercise(
    cases=lambda: [_hidden_case(*shape) for shape in ((1, 1, 4, 2), (1, 2, 4, 3), (2, 3, 4, 7))],
    hint="What comes between the last block and the head? And does the loss take probabilities, or the scores before "
    "the softmax?",
    why="The head is the token table again (tied): a token scores high where the hidden state points along its row. "
    "Cross-entropy takes the softmax itself, stably.",
)
def logits(
    hidden: Float[Tensor, "B T C"], final_norm: Callable[[Tensor], Tensor], token_table: Float[Tensor, "V C"]
) -> Float[Tensor, "B T V"]:
    """Score each token of the vocabulary."""
    return final_norm(hidden) @ token_table.T


def _hidden_case(B: int, T: int, C: int, V: int) -> tuple[Tensor, nn.LayerNorm, Tensor]:
    return 3 * torch.randn(B, T, C), nn.LayerNorm(C), torch.randn(V, C)
