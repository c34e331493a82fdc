"""Sampling, against distributions written out and transformers' filters."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import TopKLogitsWarper, TopPLogitsWarper

from tinyllm import GenerationConfig
from tinyllm.generation.sampling import filter_logits, next_tokens

PROBABILITIES = [0.05, 0.4, 0.15, 0.3, 0.1]  # sorted: 1, 3, 2, 4, 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 1}, {1}),
        ({"top_k": 3}, {1, 3, 2}),
        ({"top_k": 5}, {0, 1, 2, 3, 4}),
        ({"top_k": 50}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.01}, {1}),
        ({"top_p": 0.39}, {1}),
        ({"top_p": 0.41}, {1, 3}),
        ({"top_p": 0.69}, {1, 3}),
        ({"top_p": 0.71}, {1, 3, 2}),
        ({"top_p": 0.94}, {1, 3, 2, 4}),
        ({"top_p": 0.96}, {0, 1, 2, 3, 4}),
        ({"top_p": 1.0}, {0, 1, 2, 3, 4}),
        ({"top_k": 2, "top_p": 0.56}, {1}),  # of the two that top-k left, the first has 4/7 = 0.571
        ({"top_k": 2, "top_p": 0.58}, {1, 3}),
        ({"top_k": 2, "top_p": 0.99}, {1, 3}),
        ({"temperature": 0.5, "top_p": 0.55}, {1}),  # squared: 0.16, 0.09 of 0.285 together, that is 0.561, 0.316
        ({"temperature": 0.5, "top_p": 0.57}, {1, 3}),
    ],
)
def test_top_k_and_top_p_keep_exactly_the_right_tokens(options, kept):
    temperature = options.get("temperature", 1.0)
    logits = torch.tensor([PROBABILITIES]).log() + 3.0  # a constant changes nothing
    found = filter_logits(logits, GenerationConfig(**options)).softmax(-1)[0]
    weights = [p ** (1 / temperature) if token in kept else 0 for token, p in enumerate(PROBABILITIES)]
    assert found.tolist() == pytest.approx([weight / sum(weights) for weight in weights], abs=1e-6)
    assert {token for token, p in enumerate(found) if p > 0} == kept


def test_rows_are_filtered_each_by_itself():
    distributions = [[0.9, 0.05, 0.03, 0.02], [0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]]
    logits = torch.tensor(distributions).log()
    found = filter_logits(logits, GenerationConfig(top_p=0.65)).isfinite().tolist()
    assert found == [[True, False, False, False], [False, False, True, True], [True, True, True, False]]
    found = filter_logits(logits, GenerationConfig(top_k=2)).isfinite().tolist()
    assert found == [[True, True, False, False], [False, False, True, True], [True, True, False, False]]


def test_of_equal_logits_the_lower_ids_stay():
    logits = torch.tensor([[1.0, 2.0, 1.0, 2.0, 1.0, 0.0] * 50])
    kept = filter_logits(logits, GenerationConfig(top_k=103)).isfinite()[0].nonzero().flatten().tolist()
    twos = [index for index in range(300) if index % 6 in (1, 3)]
    ones = [index for index in range(300) if index % 6 in (0, 2, 4)]
    assert kept == sorted(twos + ones[:3])


def test_top_p_of_one_keeps_every_token_of_a_large_vocabulary():
    """In float32 the running sum of 50,257 probabilities reaches 1 long before the last."""
    logits = 8 * torch.randn(2, 50_257, generator=torch.Generator().manual_seed(0))
    assert filter_logits(logits, GenerationConfig(top_p=1.0)).isfinite().all()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 50), st.integers(0, 1000), st.none() | st.integers(1, 60), st.none() | st.floats(0.05, 0.95),
    st.floats(0.2, 3),
)  # fmt: skip
def test_filters_are_those_of_transformers(vocab_size, seed, top_k, top_p, temperature):
    logits = 2 * torch.randn(3, vocab_size, generator=torch.Generator().manual_seed(seed))
    expected = logits / temperature
    if top_k is not None:
        expected = TopKLogitsWarper(min(top_k, vocab_size))(None, expected)
    if top_p is not None:
        expected = TopPLogitsWarper(top_p)(None, expected)
    config = GenerationConfig(temperature=temperature, top_k=top_k, top_p=top_p)
    torch.testing.assert_close(filter_logits(logits, config), expected)


def test_filtering_leaves_its_input_alone():
    logits = torch.randn(2, 9)
    before = logits.clone()
    filter_logits(logits, GenerationConfig(temperature=1.0, top_k=2, top_p=0.5))
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.6}, {"temperature": 1.7}, {"top_k": 4}, {"top_p": 0.8, "temperature": 0.9}]
)
def test_frequencies_of_draws_agree_with_the_softmax(options):
    """Chi-squared: the seed is fixed, and its p-value is no corner case."""
    logits = torch.tensor([0.3, -1.0, 2.0, 1.1, 0.0, -2.0, 1.5, 0.9])
    generator = torch.Generator().manual_seed(5)
    config = GenerationConfig(**options)
    count = 40_000
    drawn = Counter(next_tokens(logits.expand(count, -1), config, generator).tolist())
    weights = {token: math.exp(x / config.temperature) for token, x in enumerate(logits.tolist())}
    order = sorted(weights, key=weights.get, reverse=True)
    if config.top_k:
        order = order[: config.top_k]
    if config.top_p:
        total, kept, sum_kept = sum(weights.values()), [], 0.0
        for token in order:
            kept.append(token)
            sum_kept += weights[token] / total
            if sum_kept >= config.top_p:
                break
        order = kept
    total = sum(weights[token] for token in order)
    assert drawn.keys() == set(order)
    expected = [count * weights[token] / total for token in order]
    assert chisquare([drawn[token] for token in order], expected).pvalue > 0.01
