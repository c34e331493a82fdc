"""Other right answers than the references of notebook 02: arrays, loops, logarithms of sums."""

import math
import random

import numpy as np
import torch


def next_token_pairs(tokens, start, context_length):
    pairs = [(tokens[start + offset], tokens[start + offset + 1]) for offset in range(context_length)]
    inputs, targets = zip(*pairs, strict=True)
    return list(inputs), list(targets)


def split_articles(articles, fraction, seed):
    count = max(1, round(fraction * len(articles)))
    chosen = set(np.random.default_rng(seed).choice(len(articles), size=count, replace=False).tolist())
    train = [article for index, article in enumerate(articles) if index not in chosen]
    return train, [articles[index] for index in sorted(chosen)]


def unigram_loss(train_ids, test_ids, vocab_size):
    counts = np.bincount(np.array(train_ids, dtype=int), minlength=vocab_size) + 1
    return np.log(counts.sum()) - np.log(counts[np.array(test_ids)]).mean()


def bigram_probabilities(ids, vocab_size):
    ids = np.array(ids)
    counts = np.bincount(ids[:-1] * vocab_size + ids[1:], minlength=vocab_size**2).reshape(vocab_size, vocab_size) + 1.0
    return torch.from_numpy(counts / counts.sum(axis=1, keepdims=True))


def cross_entropy(logits, targets):
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        total = total + row.logsumexp(dim=0) - row[target]
    return total / len(targets)


def floor_per_token(articles):
    nats = tokens = 0
    for draws, length in articles:
        tokens += length
        for probabilities, drawn in draws:
            nats += math.log(1 / probabilities[drawn])
    return torch.tensor(nats / tokens)


def measure_steps(ids, vocab_size, learning_rate, goal):
    """By the formula of the gradient: softmax less one-hot, over the number of pairs."""
    table = torch.zeros(vocab_size, vocab_size)
    known, wanted = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
    rows = torch.arange(len(known))
    steps = 0
    while steps < 200:
        p = table[known].softmax(dim=1)
        if -p[rows, wanted].log().mean() < goal:
            break
        p[rows, wanted] -= 1
        table.index_add_(0, known, p, alpha=-learning_rate / len(known))
        steps += 1
    return float(steps)


def mend_batches(stream, context_length, batch_size, seed):
    starts = list(range(0, len(stream) - context_length, context_length))
    random.Random(seed).shuffle(starts)
    batches = []
    while starts:
        some, starts = starts[:batch_size], starts[batch_size:]
        inputs = [stream[start : start + context_length] for start in some]
        batches.append((inputs, [stream[start + 1 : start + context_length + 1] for start in some]))
    return batches
