"""Exercises of notebook 05: from layers to a model.

Shape letters: B batch, T time (tokens), C embedding_dim, V vocab_size, L layers, F feedforward_dim.
"""

import math
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tinyllm.course.checking.checking import exercise, mistake


@exercise(
    cases=lambda: [
        (torch.randint(V, (B, T)), torch.randn(V, C), torch.randn(T + 3, C))
        for B, T, V, C in ((1, 2, 3, 2), (2, 3, 5, 2), (3, 3, 5, 4), (3, 5, 9, 4))
    ],
    hint="Indexing a table with the ids gives (B, T, C). Which rows of the position table belong to T tokens, and "
    "which of the two shapes has no B?",
    why="Attention itself is blind to order. Adding one learned row for each position tells every token where it "
    "stands.",
)
def embed(token_ids: Tensor, token_table: Tensor, position_table: Tensor) -> Tensor:
    """Each token's row plus its position's row: ids (B, T), tables (V, C) and (context_length, C) -> (B, T, C)."""
    T = token_ids.shape[1]
    return token_table[token_ids] + position_table[:T]  # the same positions for each of the B rows


@mistake(
    embed,
    "The positions run along the batch: row b gets position b. A position belongs to a place in the text: take the "
    "first T rows.",
)
def positions_along_the_batch(token_ids: Tensor, token_table: Tensor, position_table: Tensor) -> Tensor:
    return token_table[token_ids] + position_table[: len(token_ids), None]


@mistake(embed, "The positions are left out. Without them the model cannot tell the order of the tokens.")
def forgets_positions(token_ids: Tensor, token_table: Tensor, position_table: Tensor) -> Tensor:
    return token_table[token_ids]


@mistake(embed, "You look the position up by the token's id. It is the place in the text, 0 to T - 1, that counts.")
def positions_by_id(token_ids: Tensor, token_table: Tensor, position_table: Tensor) -> Tensor:
    return token_table[token_ids] + position_table[token_ids % len(position_table)]


@mistake(embed, "Positions are counted from 1. The first token stands at position 0.")
def positions_from_one(token_ids: Tensor, token_table: Tensor, position_table: Tensor) -> Tensor:
    T = token_ids.shape[1]
    return token_table[token_ids] + position_table[1 : T + 1]


@mistake(embed, "The whole position table is added. A text of T tokens needs its first T rows only.")
def takes_all_positions(token_ids: Tensor, token_table: Tensor, position_table: Tensor) -> Tensor:
    return token_table[token_ids] + position_table


@mistake(embed, "Every token gets the last position. Take the rows 0 to T - 1, one for each place: position_table[:T].")
def one_position_for_all(token_ids: Tensor, token_table: Tensor, position_table: Tensor) -> Tensor:
    return token_table[token_ids] + position_table[token_ids.shape[1] - 1]


@exercise(
    cases=lambda: [
        tuple(random.randint(2, 9) for _ in range(5)),
        tuple(random.randint(10, 99) for _ in range(5)),
        (1024, 160, 192, 2, 768),
        (50_257, 512, 512, 8, 2048),
    ],
    hint="Count a block on paper first: two norms, the four matrices, and a bias for each output. Then what stands "
    "outside of the blocks.",
    why="Knowing the count by heart of one formula lets you size a model before you build it. For wide models 12 C C "
    "per layer is most of it.",
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


@mistake(
    parameter_count,
    "The tied head is counted twice. It is the token table itself: V times C, once.",
)
def counts_the_head_twice(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    return (
        parameter_count(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim)
        + vocab_size * embedding_dim
    )


@mistake(
    parameter_count,
    "The biases are missing, also those of the norms. Each linear layer has one number more for each output.",
)
def forgets_all_biases(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    C, F = embedding_dim, feedforward_dim
    block = 4 * C * C + 2 * C * F + 2 * C
    return vocab_size * C + context_length * C + num_layers * block + C


@mistake(
    parameter_count,
    "The biases of the matrices are missing: each linear layer has one number more for each output.",
)
def forgets_the_biases_of_the_matrices(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    biases = 3 * embedding_dim + embedding_dim + feedforward_dim + embedding_dim
    return parameter_count(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim) - num_layers * biases


@mistake(
    parameter_count,
    "The position table is missing: one row of C numbers for each place of the context.",
)
def forgets_the_positions(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    return (
        parameter_count(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim)
        - context_length * embedding_dim
    )


@mistake(
    parameter_count,
    "The last norm, behind the blocks, is missing: 2 C numbers.",
)
def forgets_the_final_norm(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    return parameter_count(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim) - 2 * embedding_dim


@mistake(
    parameter_count,
    "The norms inside the blocks are missing: two in each, with 2 C numbers each.",
)
def forgets_the_norms_of_the_blocks(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    return (
        parameter_count(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim)
        - num_layers * 4 * embedding_dim
    )


@mistake(
    parameter_count,
    "The projection of attention is missing: behind the heads stands one more C by C matrix with its bias.",
)
def forgets_the_projection(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    projection = embedding_dim * embedding_dim + embedding_dim
    return (
        parameter_count(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim)
        - num_layers * projection
    )


@exercise(
    cases=lambda: [(name, random.randint(2, 24)) for name in _NAMES],
    hint="How many times is something added to the stream in L layers? A sum of n independent numbers has a variance "
    "of n times one.",
    why="Each layer adds two results to the stream. With this factor their sum has the same spread for any depth, as "
    "GPT-2 did it.",
)
def init_std(name: str, num_layers: int) -> float:
    """The spread of a matrix's first values: 0.02, but 0.02 / sqrt(2 L) for a projection into the residual stream.

    There are two of these in each of the L layers. So the stream does not grow with the depth.
    """
    return 0.02 / math.sqrt(2 * num_layers) if "projection" in name else 0.02


@mistake(
    init_std,
    "You divide by the root of L. Each layer adds to the stream twice, so it is the root of 2 L.",
)
def root_of_the_layers(name: str, num_layers: int) -> float:
    return 0.02 / math.sqrt(num_layers) if "projection" in name else 0.02


@mistake(init_std, "You scale every matrix. Only the projections add to the residual stream; the others keep 0.02.")
def scales_everything(name: str, num_layers: int) -> float:
    return 0.02 / math.sqrt(2 * num_layers)


@mistake(init_std, "Nothing is scaled: the projections into the residual stream need 0.02 / sqrt(2 L).")
def scales_nothing(name: str, num_layers: int) -> float:
    return 0.02


@mistake(init_std, "You divide by 2 L. The variance shrinks by 2 L, so the spread shrinks by its root.")
def forgets_the_root(name: str, num_layers: int) -> float:
    return 0.02 / (2 * num_layers) if "projection" in name else 0.02


@mistake(init_std, "Attention's projection alone is scaled. The feed-forward layer adds to the stream too.")
def scales_attention_alone(name: str, num_layers: int) -> float:
    return 0.02 / math.sqrt(2 * num_layers) if "attention.projection" in name else 0.02


@mistake(init_std, "It is the wrong way round: the projections keep 0.02, and all others are scaled.")
def scales_the_others(name: str, num_layers: int) -> float:
    return 0.02 if "projection" in name else 0.02 / math.sqrt(2 * num_layers)


@mistake(init_std, "You multiply by the root of 2 L. The deeper the model, the smaller each addition must be: divide.")
def multiplies(name: str, num_layers: int) -> float:
    return 0.02 * math.sqrt(2 * num_layers) if "projection" in name else 0.02


_NAMES = (
    "blocks.0.attention.projection.weight",
    "blocks.1.feedforward.projection.weight",
    "blocks.0.attention.qkv.weight",
    "blocks.1.feedforward.expand.weight",
    "token_embedding.weight",
    "position_embedding.weight",
)


@exercise(
    cases=lambda: [_hidden_case(*shape) for shape in ((1, 1, 4, 2), (1, 2, 4, 3), (2, 3, 4, 7))],
    hint="What stands between the last block and the head? And does the loss want probabilities, or the scores "
    "before the softmax?",
    why="The head is the token table again (tied): a token scores high where the hidden state points along its row. "
    "Cross-entropy takes the softmax itself, stably.",
)
def logits(hidden: Tensor, final_norm: Callable, token_table: Tensor) -> Tensor:
    """Score each token of the vocabulary: hidden (B, T, C), token_table (V, C) -> (B, T, V)."""
    return final_norm(hidden) @ token_table.T


@mistake(
    logits, "The final norm is missing. The stream behind the last block has any size: normalise it before the head."
)
def forgets_the_norm(hidden: Tensor, final_norm: Callable, token_table: Tensor) -> Tensor:
    return hidden @ token_table.T


@mistake(
    logits,
    "These are probabilities. Logits are the scores before the softmax: the loss takes the softmax itself, and "
    "sampling "
    "too.",
)
def takes_the_softmax(hidden: Tensor, final_norm: Callable, token_table: Tensor) -> Tensor:
    return (final_norm(hidden) @ token_table.T).softmax(dim=-1)


@mistake(
    logits, "The norm comes after the head. It belongs before: it normalises the C numbers of a token, not its scores."
)
def normalises_the_scores(hidden: Tensor, final_norm: Callable, token_table: Tensor) -> Tensor:
    return final_norm(hidden @ token_table.T)


@mistake(logits, "The token table is not transposed: (B, T, C) times (C, V) is wanted, and the table is (V, C).")
def does_not_transpose(hidden: Tensor, final_norm: Callable, token_table: Tensor) -> Tensor:
    return final_norm(hidden) @ token_table


@mistake(logits, "You score the last token only. Training needs the scores at every place: (B, T, V).")
def scores_the_last_token(hidden: Tensor, final_norm: Callable, token_table: Tensor) -> Tensor:
    return final_norm(hidden)[:, -1] @ token_table.T


def _hidden_case(B: int, T: int, C: int, V: int) -> tuple[Tensor, nn.LayerNorm, Tensor]:
    return 3 * torch.randn(B, T, C), nn.LayerNorm(C), torch.randn(V, C)
