"""Right answers of notebook 02 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math
import random
from itertools import pairwise

import torch

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch02_data import (
    bigram_probabilities,
    cross_entropy,
    floor_per_token,
    mend_batches,
    next_token_pairs,
    split_articles,
    unigram_loss,
)


@form(next_token_pairs)
def pair_of_a_piece(tokens, start, context_length):
    further = 1
    first, end = start, start + context_length
    inputs = tokens[first:end]
    targets = tokens[first + further : end + further]
    return inputs, targets


@form(split_articles)
def by_order(articles, fraction, seed):
    order = list(range(len(articles)))
    random.Random(seed).shuffle(order)
    share = fraction * len(articles)
    count = max(1, round(share))
    held_out, train = order[:count], order[count:]
    return [articles[index] for index in train], [articles[index] for index in held_out]


@form(unigram_loss)
def token_by_token(train_ids, test_ids, vocab_size):
    added = 1
    counts = [added] * vocab_size
    for token in train_ids:
        counts[token] += 1
    loss = 0.0
    for token in test_ids:
        probability = counts[token] / sum(counts)
        loss = loss - math.log(probability)
    return loss / len(test_ids)


@form(bigram_probabilities)
def pair_by_pair(ids, vocab_size):
    added = 1
    counts = torch.zeros(vocab_size, vocab_size)
    for row, column in pairwise(ids):
        counts[row, column] += 1
    counts = counts + added
    totals = counts.sum(dim=1, keepdim=True)
    return counts / totals


@form(cross_entropy)
def from_log_softmax(logits, targets):
    log_p = logits.log_softmax(dim=1)
    rows = torch.arange(len(targets))
    picked = log_p[rows, targets]
    losses = -picked
    return losses.mean()


@form(floor_per_token)
def article_by_article(articles):
    nats = 0.0
    tokens = 0
    for draws, length in articles:
        for probabilities, drawn in draws:
            surprise = -math.log(probabilities[drawn])
            nats = nats + surprise
        tokens = tokens + length
    return nats / tokens


@form(mend_batches)
def shuffled_starts(stream, context_length, batch_size, seed):
    starts = list(range(0, len(stream) - context_length, context_length))
    random.Random(seed).shuffle(starts)
    batches = []
    for first in range(0, len(starts), batch_size):
        chosen = starts[first : first + batch_size]
        inputs = [stream[start : start + context_length] for start in chosen]
        targets = [stream[start + 1 : start + context_length + 1] for start in chosen]
        batches.append((inputs, targets))
    return batches
