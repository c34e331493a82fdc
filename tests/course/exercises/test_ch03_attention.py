"""Each reference of notebook 03 beside an independent one."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tinyllm.course.exercises import ch03_attention as attention


def test_causal_average_is_attention_with_zero_queries():
    x = torch.randn(1, 7, 5)
    expected = F.scaled_dot_product_attention(torch.zeros_like(x), torch.randn_like(x), x, is_causal=True)
    torch.testing.assert_close(attention.causal_average(x[0]), expected[0])


def test_scores_mask_and_weights_together_are_torchs_attention():
    q, k, v = torch.randn(3, 2, 3, 6, 4)
    weights = attention.attention_weights(attention.scores(q, k), attention.causal_mask(6))
    torch.testing.assert_close(weights @ v, F.scaled_dot_product_attention(q, k, v, is_causal=True))


def test_causal_mask_is_where_torchs_mask_adds_nothing():
    assert torch.equal(attention.causal_mask(6), nn.Transformer.generate_square_subsequent_mask(6) == 0)


def test_heads_are_consecutive_parts_of_each_token():
    x = torch.randn(2, 5, 12)
    heads = attention.split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 4)
    for head, part in enumerate(x.chunk(3, dim=-1)):
        assert torch.equal(heads[:, head], part)
    assert torch.equal(attention.merge_heads(heads), x)


@pytest.mark.parametrize("D", [4, 256])
def test_the_spread_of_dot_products_is_the_root_of_their_length(D):
    assert attention.measure_spread(D) == pytest.approx(math.sqrt(D), rel=0.1)


@pytest.mark.parametrize("window", [1, 3, 6, 9])
def test_a_window_is_torchs_attention_under_a_banded_mask(window):
    q, k, v = torch.randn(3, 2, 2, 6, 4)
    distance = torch.arange(6)[:, None] - torch.arange(6)
    expected = F.scaled_dot_product_attention(q, k, v, (distance >= 0) & (distance < window))
    torch.testing.assert_close(attention.mend_window(q, k, v, window), expected)
