"""Exercises of notebook 05: from layers to a model.

Shape letters: B batch, T time (tokens), C embedding_dim, V vocab_size, L layers, F feedforward_dim.
"""

import math
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tinyllm.exercises.checking import exercise


@exercise(
    cases=lambda: [
        (torch.randint(V, (B, T)), torch.randn(V, C), torch.randn(T + 3, C))
        for B, T, V, C in ((1, 2, 3, 2), (2, 3, 5, 2), (3, 3, 5, 4), (3, 5, 9, 4))
    ]
)
def embed(token_ids: Tensor, token_table: Tensor, position_table: Tensor) -> Tensor:
    """Each token's row plus its position's row: ids (B, T), tables (V, C) and (context_length, C) -> (B, T, C)."""
    T = token_ids.shape[1]
    return token_table[token_ids] + position_table[:T]  # the same positions for each of the B rows


@exercise(
    cases=lambda: [
        tuple(random.randint(2, 9) for _ in range(5)),
        tuple(random.randint(10, 99) for _ in range(5)),
        (1024, 160, 192, 2, 768),
        (50_257, 512, 512, 8, 2048),
    ]
)
def parameter_count(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    """All numbers that are learned, biases too. The head is the token table, so it counts once."""
    C, F = embedding_dim, feedforward_dim
    embeddings = vocab_size * C + context_length * C
    norm = 2 * C  # weight and bias
    attention = (C * 3 * C + 3 * C) + (C * C + C)  # queries, keys and values; the projection
    feedforward = (C * F + F) + (F * C + C)
    block = norm + attention + norm + feedforward
    return embeddings + num_layers * block + norm


@exercise(cases=lambda: [(name, random.randint(2, 24)) for name in _NAMES])
def init_std(name: str, num_layers: int) -> float:
    """The spread of a matrix's first values: 0.02, but 0.02 / sqrt(2 L) for a projection into the residual stream.

    There are two of these in each of the L layers. So the stream does not grow with the depth.
    """
    return 0.02 / math.sqrt(2 * num_layers) if "projection" in name else 0.02


_NAMES = (
    "blocks.0.attention.projection.weight",
    "blocks.1.feedforward.projection.weight",
    "blocks.0.attention.qkv.weight",
    "blocks.1.feedforward.expand.weight",
    "token_embedding.weight",
    "position_embedding.weight",
)


@exercise(cases=lambda: [_hidden_case(*shape) for shape in ((1, 1, 4, 2), (1, 2, 4, 3), (2, 3, 4, 7))])
def logits(hidden: Tensor, final_norm: Callable, token_table: Tensor) -> Tensor:
    """Score each token of the vocabulary: hidden (B, T, C), token_table (V, C) -> (B, T, V)."""
    return final_norm(hidden) @ token_table.T


def _hidden_case(B: int, T: int, C: int, V: int) -> tuple[Tensor, nn.LayerNorm, Tensor]:
    return 3 * torch.randn(B, T, C), nn.LayerNorm(C), torch.randn(V, C)
