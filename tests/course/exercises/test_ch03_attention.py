"""Each reference of notebook 03 beside an independent one."""

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
