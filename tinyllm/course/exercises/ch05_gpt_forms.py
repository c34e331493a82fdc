"""Right answers of notebook 05 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch05_gpt import embed, init_std, logits, mend_loss, parameter_count


@form(embed)
def by_position(token_ids, token_table, position_table):
    positions = torch.arange(token_ids.shape[1])
    tokens = token_table[token_ids]
    places = position_table[positions]
    return tokens + places


@form(parameter_count)
def item_by_item(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim):
    queries = embedding_dim * embedding_dim + embedding_dim
    keys = embedding_dim * embedding_dim + embedding_dim
    values = embedding_dim * embedding_dim + embedding_dim
    projection = embedding_dim * embedding_dim + embedding_dim
    expand = embedding_dim * feedforward_dim + feedforward_dim
    shrink = feedforward_dim * embedding_dim + embedding_dim
    norms = 2 * 2 * embedding_dim
    block = queries + keys + values + projection + expand + shrink + norms
    tables = (vocab_size + context_length) * embedding_dim
    return tables + num_layers * block + 2 * embedding_dim


@form(parameter_count)
def added_up(vocab_size, context_length, embedding_dim, num_layers, feedforward_dim):
    matrices = 4 * embedding_dim**2 + 2 * embedding_dim * feedforward_dim
    biases = 5 * embedding_dim + feedforward_dim
    norms = 4 * embedding_dim
    block = matrices + biases + norms
    return vocab_size * embedding_dim + context_length * embedding_dim + num_layers * block + 2 * embedding_dim


@form(init_std)
def usual_or_less(name, num_layers):
    usual = 0.02
    added = 2 * num_layers
    root = math.sqrt(added)
    if "projection" in name:
        return usual / root
    return usual


@form(logits)
def row_by_row(hidden, final_norm, token_table):
    normed = final_norm(hidden)
    columns = token_table.T
    return normed @ columns


@form(mend_loss)
def step_by_step(token_ids, targets, token_table, position_table, blocks, final_norm):
    x = token_table[token_ids] + position_table[: token_ids.shape[1]]
    for block in blocks:
        x = block(x)
    normed = final_norm(x)
    scores = normed @ token_table.T
    log_p = scores.log_softmax(dim=-1)
    losses = -log_p.gather(-1, targets[..., None])
    return losses.mean()
