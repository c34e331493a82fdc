"""What learners usually get wrong in notebook 05. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch
from torch import nn

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch05_gpt import embed, extra_loss, init_std, logits, mend_loss, parameter_count

# embed

mistake(
    embed,
    "The positions run along the batch: row b gets position b. A position is an index in the text: take the first T "
    "rows.",
    lambda ids, tokens, positions: tokens[ids] + positions[: len(ids), None],
)

mistake(
    embed,
    "The positions are left out. Without them the model cannot tell the order of the tokens.",
    lambda ids, tokens, positions: tokens[ids],
)

mistake(
    embed,
    "You look the position up by the token's id. Use its index in the text, 0 to T - 1.",
    lambda ids, tokens, positions: tokens[ids] + positions[ids % len(positions)],
)


@mistake(
    embed,
    "Positions are counted from 1. The first token is at position 0.",
)
def positions_from_one(token_ids, token_table, position_table):
    T = token_ids.shape[1]
    return token_table[token_ids] + position_table[1 : T + 1]


mistake(
    embed,
    "The whole position table is added. A text of T tokens needs its first T rows only.",
    lambda ids, tokens, positions: tokens[ids] + positions,
)

mistake(
    embed,
    "Every token gets the last position. Take the rows 0 to T - 1, one for each token: position_table[:T].",
    lambda ids, tokens, positions: tokens[ids] + positions[ids.shape[1] - 1],
)

mistake(
    embed,
    "You take the last T rows of the position table. A text begins at position 0: take the first T.",
    lambda token_ids, token_table, position_table: (
        token_table[token_ids] + position_table[len(position_table) - token_ids.shape[1] :]
    ),
)

mistake(
    embed,
    "You multiply the token's row by the root of C, as the first Transformer did. Here it is added as it is.",
    lambda token_ids, token_table, position_table: (
        math.sqrt(token_table.shape[1]) * token_table[token_ids] + position_table[: token_ids.shape[1]]
    ),
)

mistake(
    embed,
    "Token and position are multiplied. Add them.",
    lambda token_ids, token_table, position_table: token_table[token_ids] * position_table[: token_ids.shape[1]],
)


@mistake(
    embed,
    "The positions run on through the batch. Each text begins at position 0 again.",
)
def runs_on(token_ids, token_table, position_table):
    positions = torch.arange(token_ids.numel()).view_as(token_ids) % len(position_table)
    return token_table[token_ids] + position_table[positions]


# parameter_count

mistake(
    parameter_count,
    "The tied head is counted twice. It is the token table itself: V times C, once.",
    lambda V, T, C, L, F: parameter_count(V, T, C, L, F) + V * C,
)


@mistake(
    parameter_count,
    "The biases are missing, including those of the norms. Each linear layer has one for each output.",
)
def forgets_all_biases(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim):
    C, F = embedding_dim, feedforward_dim
    block = 4 * C * C + 2 * C * F + 2 * C
    return vocab_size * C + context_length * C + num_layers * block + C


@mistake(
    parameter_count,
    "The biases of the matrices are missing: each linear layer has one for each output.",
)
def forgets_the_biases_of_the_matrices(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim):
    biases = 3 * embedding_dim + embedding_dim + feedforward_dim + embedding_dim
    return parameter_count(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim) - num_layers * biases


mistake(
    parameter_count,
    "The position table is missing: one row of C numbers for each position of the context.",
    lambda V, T, C, L, F: parameter_count(V, T, C, L, F) - T * C,
)

mistake(
    parameter_count,
    "The last norm, after the blocks, is missing: 2 C numbers.",
    lambda V, T, C, L, F: parameter_count(V, T, C, L, F) - 2 * C,
)

mistake(
    parameter_count,
    "The norms inside the blocks are missing: two in each, with 2 C numbers each.",
    lambda V, T, C, L, F: parameter_count(V, T, C, L, F) - L * 4 * C,
)


mistake(
    parameter_count,
    "Each norm has 2 C numbers, a weight and a bias for each of the C. You count C.",
    lambda V, T, C, L, F: parameter_count(V, T, C, L, F) - (2 * L + 1) * C,
)

mistake(
    parameter_count,
    "Queries, keys and values have 3 C biases in each block, one for each output. You count C.",
    lambda V, T, C, L, F: parameter_count(V, T, C, L, F) - L * 2 * C,
)

mistake(
    parameter_count,
    "Queries, keys and values have no biases in your count: 3 C in each block, one for each output.",
    lambda V, T, C, L, F: parameter_count(V, T, C, L, F) - L * 3 * C,
)


@mistake(
    parameter_count,
    "The projection of attention is missing: after the heads comes one more C by C matrix with its bias.",
)
def forgets_the_projection(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim):
    projection = embedding_dim * embedding_dim + embedding_dim
    return (
        parameter_count(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim)
        - num_layers * projection
    )


# init_std

mistake(
    init_std,
    "You divide by the root of L. Each layer adds to the stream twice, so it is the root of 2 L.",
    lambda name, L: 0.02 / math.sqrt(L) if "projection" in name else 0.02,
)

mistake(
    init_std,
    "You scale every matrix. Only the projections add to the residual stream; the others keep 0.02.",
    lambda name, L: 0.02 / math.sqrt(2 * L),
)

mistake(
    init_std,
    "Nothing is scaled: the projections into the residual stream need 0.02 / sqrt(2 L).",
    lambda name, L: 0.02,
)

mistake(
    init_std,
    "You divide by 2 L. The variance shrinks by 2 L, so the standard deviation shrinks by its root.",
    lambda name, L: 0.02 / (2 * L) if "projection" in name else 0.02,
)

mistake(
    init_std,
    "Attention's projection alone is scaled. The feed-forward layer adds to the stream too.",
    lambda name, L: 0.02 / math.sqrt(2 * L) if "attention.projection" in name else 0.02,
)

mistake(
    init_std,
    "It is the wrong way round: the projections keep 0.02, and all others are scaled.",
    lambda name, L: 0.02 if "projection" in name else 0.02 / math.sqrt(2 * L),
)

mistake(
    init_std,
    "You multiply by the root of 2 L. The deeper the model, the smaller each addition must be: divide.",
    lambda name, L: 0.02 * math.sqrt(2 * L) if "projection" in name else 0.02,
)

mistake(
    init_std,
    "Everything with attention in its name is scaled. Only what projects back into the stream is.",
    lambda name, num_layers: 0.02 / math.sqrt(2 * num_layers) if "attention" in name else 0.02,
)

mistake(
    init_std,
    "Everything in a block is scaled. Only what projects back into the stream is.",
    lambda name, num_layers: 0.02 / math.sqrt(2 * num_layers) if "blocks" in name or "layers" in name else 0.02,
)

mistake(
    init_std,
    "The feed-forward projection alone is scaled. Attention adds to the stream too.",
    lambda name, num_layers: 0.02 / math.sqrt(2 * num_layers) if "feedforward.projection" in name else 0.02,
)


# logits

mistake(
    logits,
    "The final norm is missing. The stream after the last block can have any size: normalise it before the head.",
    lambda hidden, final_norm, table: hidden @ table.T,
)

mistake(
    logits,
    "These are probabilities. Logits are the scores before the softmax: the loss takes the softmax itself, and "
    "sampling too.",
    lambda hidden, final_norm, table: (final_norm(hidden) @ table.T).softmax(dim=-1),
)

mistake(
    logits,
    "The norm comes after the head. It belongs before: it normalises the C numbers of a token, not its scores.",
    lambda hidden, final_norm, table: final_norm(hidden @ table.T),
)

mistake(
    logits,
    "The token table is not transposed: you need (B, T, C) times (C, V), and the table is (V, C).",
    lambda hidden, final_norm, table: final_norm(hidden) @ table,
)

mistake(
    logits,
    "You score the last token only. Training needs the scores at every position: (B, T, V).",
    lambda hidden, final_norm, table: final_norm(hidden)[:, -1] @ table.T,
)


# mend_loss


@mistake(
    mend_loss,
    "This computes what the code above computes, so nothing is mended yet. Give it three blocks and take the first one "
    "away: does the loss move?",
)
def as_shown(token_ids, targets, token_table, position_table, blocks, final_norm):
    x = embed(token_ids, token_table, position_table)
    for block in blocks:
        y = block(x)
    return _loss(logits(y, final_norm, token_table).softmax(dim=-1), targets)


@mistake(
    mend_loss,
    "One line is mended. But all blocks read the embeddings, and only the last one's result is used: each must read "
    "what the one before it left.",
)
def blocks_read_the_embeddings(token_ids, targets, token_table, position_table, blocks, final_norm):
    x = embed(token_ids, token_table, position_table)
    for block in blocks:
        y = block(x)
    return _loss(logits(y, final_norm, token_table), targets)


@mistake(
    mend_loss,
    "The blocks are mended. But the loss gets probabilities: it takes the softmax of scores itself, so now there are "
    "two.",
)
def softmax_before_the_loss(token_ids, targets, token_table, position_table, blocks, final_norm):
    x = embed(token_ids, token_table, position_table)
    for block in blocks:
        x = block(x)
    return _loss(logits(x, final_norm, token_table).softmax(dim=-1), targets)


def _loss(scores, targets):
    return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())


# extra_loss

mistake(
    extra_loss,
    "Twice too much. It does grow with the square of the spread: compare its size at one spread with what you "
    "measured.",
    lambda spread: spread**2,
)

mistake(
    extra_loss,
    "You say that the loss grows in step with the spread. Double the spread and measure again: it grows fourfold.",
    lambda spread: spread / 2,
)

mistake(
    extra_loss,
    "This is the spread itself. Measure the loss above ln V at two spreads, one twice the other.",
    lambda spread: spread,
)

mistake(
    extra_loss,
    "You say that the spread costs nothing. Multiply the logits by 5 and measure.",
    lambda spread: 0.0,
)
