"""What chapter 02 says that the learned table of bigrams shows."""

import numpy as np
import pytest
import torch
from evidence import TIMES
from rungs import keep, scores, steps, text
from torch import nn


def counted_bigrams(added: float) -> nn.Module:
    """The table that chapter 02 counts, with `added` to each pair, as a model."""
    V = text().vocab_size
    stream = text().blocks.tokens.astype(np.int64)
    counts = np.bincount(stream[:-1] * V + stream[1:], minlength=V * V).reshape(V, V) + added
    return nn.Embedding.from_pretrained(torch.from_numpy(np.log(counts / counts.sum(axis=1, keepdims=True))).float())


def tuned_bigrams() -> nn.Module:
    """The counted table that is best on the held-out blocks, among those which the chapter tries."""
    ids, targets = text().held_out.fixed(64)

    def held_out(table: nn.Module) -> float:
        return float(-table.weight[ids, targets].mean())

    return min(map(counted_bigrams, (1, 0.1, 0.01, 0.001, 0.0001)), key=held_out)


@pytest.mark.claim("02.counting_beats_learning")
def test_counting_beats_learning(evidence):
    """No smaller addend could change that: none of the pairs in the held-out and test articles is new."""
    keep("bigram")
    counted = text().score(tuned_bigrams())["all"]
    losses = {steps(times): [score["all"] - counted for score in scores("bigram", times)] for times in TIMES}
    evidence.larger("loss of the learned table minus loss of the counted one, both tuned, nats per token", losses)
