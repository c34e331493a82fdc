"""Each reference of notebook 02 beside an independent one."""

import math
import random
import string

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
import torch
import torch.nn.functional as F

from tinyllm.course.exercises import ch02_data as data
from tinyllm.text import tinywiki


def test_next_token_pairs_are_windows():
    tokens = random.choices(range(50), k=40)
    inputs, targets = data.next_token_pairs(tokens, 7, 5)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, 5)
    assert inputs == windows[7].tolist()
    assert targets == windows[8].tolist()


def test_split_articles_holds_out_a_seeded_share():
    articles = list(string.ascii_letters)
    train, held_out = data.split_articles(articles, 0.25, 3)
    assert len(held_out) == 13
    assert sorted(train + held_out) == sorted(articles)
    assert (train, held_out) == data.split_articles(articles, 0.25, 3) != data.split_articles(articles, 0.25, 4)
    assert len(data.split_articles(articles, 0.001, 0)[1]) == 1
    assert articles == list(string.ascii_letters)


def test_unigram_loss_is_a_categorical_distribution():
    train, test = torch.randint(9, (200,)), torch.randint(11, (50,))
    p = torch.distributions.Categorical(torch.bincount(train, minlength=11).double() + 1)
    expected = -p.log_prob(test).mean().item()
    assert data.unigram_loss(train.tolist(), test.tolist(), 11) == pytest.approx(expected, rel=1e-9)


def test_bigram_probabilities_are_a_normalised_sparse_count():
    ids = np.random.default_rng(0).integers(6, size=300)
    counts = scipy.sparse.coo_array((np.ones(299), (ids[:-1], ids[1:])), shape=(7, 7)).toarray() + 1
    expected = torch.tensor(counts / counts.sum(axis=1, keepdims=True), dtype=torch.float32)
    torch.testing.assert_close(data.bigram_probabilities(ids.tolist(), 7), expected)


@pytest.mark.parametrize("scale", [1, 1000])
def test_cross_entropy_is_torchs(scale):
    logits, targets = scale * torch.randn(20, 9), torch.randint(9, (20,))
    torch.testing.assert_close(data.cross_entropy(logits, targets), F.cross_entropy(logits, targets))


def test_floor_per_token_is_that_of_tinywiki():
    articles = tinywiki.articles("test")[:20]
    drawn = [[([math.exp(-span.nats)], 0) for span in article.spans if span.nats] for article in articles]
    expected = sum(article.nats for article in articles) / (20 * 100)
    assert data.floor_per_token([(draws, 100) for draws in drawn]) == pytest.approx(expected)
    assert data.floor_per_token([([([0.25] * 4, 2)] * 3, 2), ([([0.5, 0.5], 1)], 5)]) == pytest.approx(math.log(2))


def test_mend_batches_reads_each_block_of_a_shuffled_epoch_once():
    stream = list(range(100))
    batches = data.mend_batches(stream, 7, 4, 3)
    assert [len(inputs) for inputs, _ in batches] == [4, 4, 4, 2]
    rows = np.concatenate([inputs for inputs, _ in batches])
    assert np.array_equal(np.sort(rows, axis=0), np.arange(98).reshape(14, 7))
    assert not np.array_equal(rows, np.sort(rows, axis=0))
    assert np.array_equal(np.concatenate([targets for _, targets in batches]), rows + 1)


def test_measure_steps_follows_the_logistic_function():
    """0 always comes before 1: the two logits of row 0 each move by rate * (1 - p) at a step, away from each other."""
    apart, steps = 0.0, 0
    while math.log1p(math.exp(-apart)) >= 0.2:
        apart, steps = apart + 2 * 0.5 / (1 + math.exp(apart)), steps + 1
    assert data.measure_steps([0, 1], 2, 0.5, 0.2) == steps == 5
    assert data.measure_steps([0, 1], 2, 1e-6, 0.2) == 200
