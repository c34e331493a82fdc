"""What chapter 02 says that the learned table of bigrams shows."""

import numpy as np
import pytest
import torch
from evidence import TIMES
from rungs import keep, scores, steps, text
from torch import nn


def counted_bigrams() -> nn.Module:
    """The table that chapter 02 counts, one added to each pair, as a model."""
    V = text().vocab_size
    stream = text().blocks.tokens.astype(np.int64)
    counts = np.bincount(stream[:-1] * V + stream[1:], minlength=V * V).reshape(V, V) + 1
    return nn.Embedding.from_pretrained(torch.from_numpy(np.log(counts / counts.sum(axis=1, keepdims=True))).float())


@pytest.mark.claim("02.learning_beats_adding_one")
def test_the_learned_table_ends_below_the_counted_one(evidence):
    keep("bigram")
    counted = text().score(counted_bigrams())["all"]
    gains = {steps(times): [counted - score["all"] for score in scores("bigram", times)] for times in TIMES}
    evidence.larger("loss of the counted table minus loss of the learned one, nats per token", gains)
