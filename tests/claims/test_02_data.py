"""What chapter 02 says that the learned table of bigrams shows."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from evidence import TIMES
from rungs import RUNGS, Rung, bigram, keep, scores, steps, text
from torch import nn

from tinyllm.course.ladder import Batch


def counted_bigrams(added: float) -> nn.Module:
    """The table that chapter 02 counts, with `added` to each pair, as a model."""
    V = text().vocab_size
    stream = text().blocks.tokens.astype(np.int64)
    counts = np.bincount(stream[:-1] * V + stream[1:], minlength=V * V).reshape(V, V) + added
    return nn.Embedding.from_pretrained(torch.from_numpy(np.log(counts / counts.sum(axis=1, keepdims=True))).float())


def tuned_bigrams() -> nn.Module:
    """The counted table that is best on the held-out blocks, among those which the chapter tries.

    To add still less changes nothing: none of the pairs in the held-out and test articles is new.
    """
    ids, targets = text().held_out.fixed(64)

    def held_out(table: nn.Module) -> float:
        return float(-table.weight[ids, targets].mean())

    return min(map(counted_bigrams, (1, 0.1, 0.01, 0.001, 0.0001)), key=held_out)


def without_decay(model: nn.Module, batches: list[Batch], learning_rate: float) -> None:
    """As `plain` trains, but no step shrinks the numbers."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    for ids, targets in batches:
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


RUNGS["bigram without decay"] = Rung(bigram, 0.1, without_decay)


@pytest.mark.claim("02.counting_beats_learning")
def test_counting_beats_learning(evidence):
    keep("bigram")
    counted = text().score(tuned_bigrams())["all"]

    def above(name: str) -> Mapping[str, list[float]]:
        return {steps(times): [score["all"] - counted for score in scores(name, times)] for times in TIMES}

    evidence.larger(
        "loss of the learned table minus loss of the counted one, both tuned, nats per token", above("bigram")
    )
    evidence.larger("the same, learned without weight decay", above("bigram without decay"))
