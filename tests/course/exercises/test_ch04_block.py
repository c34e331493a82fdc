"""Each reference of notebook 04 beside an independent one."""

import pytest
import scipy.sparse
import scipy.stats
import torch
import torch.nn.functional as F
from torch import nn

from tinyllm.course.exercises import ch04_block as block


def test_layer_norm_is_torchs():
    x, weight, bias = torch.randn(2, 5, 12), torch.randn(12), torch.randn(12)
    torch.testing.assert_close(block.layer_norm(x, weight, bias, 0.1), F.layer_norm(x, (12,), weight, bias, 0.1))
    torch.testing.assert_close(block.layer_norm(x, weight, bias), F.layer_norm(x, (12,), weight, bias))


def test_gelu_is_x_times_a_normal_distribution():
    x = torch.linspace(-6, 6, 200, dtype=torch.double)
    torch.testing.assert_close(block.gelu(x), x * torch.from_numpy(scipy.stats.norm.cdf(x)))


def test_dropout_drops_as_torchs_does():
    x = torch.ones(300, 300)
    y = block.dropout(x, 0.3, True)
    assert scipy.stats.binomtest(int((y == 0).sum()), x.numel(), 0.3).pvalue > 1e-4
    assert y.unique().tolist() == F.dropout(x, 0.3).unique().tolist()
    assert torch.equal(block.dropout(x, 0.3, False), x)
    assert torch.equal(block.dropout(x, 0.0, True), x)


def test_block_forward_is_torchs_encoder_layer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    nn.init.normal_(layer.norm1.weight)
    x = torch.randn(2, 5, 8)
    y = block.block_forward(
        x,
        layer.norm1,
        lambda x: layer.self_attn(x, x, x)[0],
        layer.norm2,
        lambda x: layer.linear2(F.gelu(layer.linear1(x))),
    )
    torch.testing.assert_close(y, layer(x))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_what_dropout_makes_of_a_one_scatters_as_torchs_does(p):
    assert block.measure_scatter(p) == pytest.approx(F.dropout(torch.ones(100_000), p).std().item(), rel=0.1)


def test_mend_stack_adds_each_layer_and_leaves_x_alone():
    norms, layers = [nn.LayerNorm(6) for _ in range(3)], [nn.Linear(6, 6) for _ in range(3)]
    x = torch.randn(2, 4, 6)
    before, expected = x.clone(), x
    for norm, layer in zip(norms, layers, strict=True):
        expected = expected + F.linear(F.layer_norm(expected, (6,), norm.weight, norm.bias), layer.weight, layer.bias)
    torch.testing.assert_close(block.mend_stack(x, norms, layers, 0.5, False), expected)
    assert torch.equal(x, before)
    assert (block.mend_stack(x, norms, layers, 0.5, True) != expected).any()
