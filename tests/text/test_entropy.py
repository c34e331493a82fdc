"""The entropy floor by three roads; an n-gram, or eight tokens of context, stay far above it."""

import math

import numpy as np
import pytest
import torch
from n_grams import NGrams
from scipy import stats
from tinywiki_by_hand import BOTH

from tinyllm import GPT, ModelConfig
from tinyllm.evaluation import surprises
from tinyllm.text import tinywiki
from tinyllm.text.entropy import article_entropy


@BOTH
def test_entropy_agrees_with_the_mean_surprise_of_articles(full, some):
    nats = np.array([article.nats for article in some[full]])
    standard_error = nats.std(ddof=1) / math.sqrt(len(nats))
    assert standard_error < 0.06
    assert abs(nats.mean() - article_entropy(full)) < 4 * standard_error


def test_entropy_agrees_with_the_sum_written_out():
    def zipf(n: int) -> float:
        p = 1 / np.arange(1, n + 1)
        return stats.entropy(p / p.sum())

    always = sum(map(zipf, (16, 14, 16, 12, 10, 6, 8))) + math.log(32 * 24) + math.log(80) + math.log(40)
    fork = math.log(4) + (2 * (math.log(8) + math.log(10) + math.log(8)) + math.log(8) + math.log(8)) / 4
    assert article_entropy() == pytest.approx(always + fork, abs=1e-9)
    works = math.log(20) + math.log(64) + math.log(63) + math.log(62) + math.log(6) + math.log(3)
    assert article_entropy(full=True) == pytest.approx(
        always + fork + works + zipf(5) + zipf(6) + math.log(7), abs=1e-9
    )


@pytest.fixture(scope="module")
def floor() -> float:
    return sum(article.nats for article in tinywiki.articles("test"))


@pytest.fixture(scope="module")
def n_grams(streams, tinywiki_tokenizer) -> NGrams:
    return NGrams(streams["train"], streams["validation"], tinywiki_tokenizer.vocab_size)


def test_the_n_grams_are_distributions(n_grams, streams):
    """Or the comparison below would be with something else."""
    windows = n_grams.windows(streams["test"][:1])[[0, 5, 40, 90]]
    for window in windows:
        every = np.repeat(window[None], n_grams.vocab_size, axis=0)
        every[:, -1] = np.arange(n_grams.vocab_size)
        assert [p.sum() for p in n_grams.probabilities(every)] == pytest.approx([1] * 5)


def test_every_n_gram_stays_far_above_the_floor(n_grams, streams, floor):
    """Trained on all 16,000 articles, scored on held-out ones from their own start, separators included."""
    windows = n_grams.windows(streams["test"])
    assert len(windows) == sum(len(ids) - 1 for ids in streams["test"])
    nats = [-np.log(p).sum() for p in n_grams.probabilities(windows)]
    assert all(order > 1.25 * floor for order in nats)
    assert nats == sorted(nats, reverse=True), "each order is better than the one below it"


def test_a_transformer_that_sees_eight_tokens_stays_far_above_the_floor(n_grams, streams, floor, tinywiki_tokenizer):
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=tinywiki_tokenizer.vocab_size, context_length=8, embedding_dim=96, num_layers=2, num_heads=4,
        feedforward_dim=384, dropout=0.0,
    )  # fmt: skip
    model = GPT(config)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    stream = torch.from_numpy(np.concatenate([ids[:-1] for ids in streams["train"]]))
    steps, excess = 180, []
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = 5e-3 * min(1, step / 10) * (0.51 + 0.49 * math.cos(math.pi * step / steps))
        blocks = stream[torch.randint(len(stream) - 8, (192, 1)) + torch.arange(9)]
        optimizer.zero_grad()
        model(blocks[:, :-1], blocks[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step in (steps * 4 // 5, steps):
            scored = streams["test"][:80]  # a window that moves by one token: each is predicted from the 8 before it
            nats = sum(float(losses.sum()) for losses in surprises(model, scored, stride=1))
            excess.append(nats / sum(article.nats for article in tinywiki.articles("test")[:80]))
    five_gram = -np.log(n_grams.probabilities(n_grams.windows(streams["test"]))[-1]).sum() / floor
    assert excess[1] > 1.25
    assert excess[1] < 1.05 * five_gram, "it learned what four tokens can tell"
    assert excess[1] > 0.95 * excess[0], "and is near its plateau"
