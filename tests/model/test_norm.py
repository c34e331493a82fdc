"""The two norms, against their formulas written out."""

import dataclasses

import pytest
import torch

from tinyllm.model.norm import NORM_EPS, make_norm


def perturbed_norm(config, norm: str, bias: bool) -> torch.nn.Module:
    layer = make_norm(dataclasses.replace(config, norm=norm, bias=bias))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += torch.randn_like(parameter)
    return layer


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 1e-3])  # at the smaller one NORM_EPS outweighs the variance
@pytest.mark.parametrize("bias", [True, False])
def test_layernorm_centres_and_divides_by_the_standard_deviation(tiny_config, bias, scale):
    layer = perturbed_norm(tiny_config, "layernorm", bias)
    x = scale * (torch.randn(2, 5, 24) + 3)
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * layer.weight
    torch.testing.assert_close(layer(x), expected + layer.bias if bias else expected, rtol=1e-4, atol=1e-5)
    assert (layer.bias is not None) == bias


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_rmsnorm_divides_by_the_root_mean_square_and_has_no_bias(tiny_config, scale):
    layer = perturbed_norm(tiny_config, "rmsnorm", bias=True)
    x = scale * (torch.randn(2, 5, 24) + 3)
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * layer.weight
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_all_norms_of_a_model_guard_against_zero_alike(model):
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm | torch.nn.RMSNorm)]
    assert len(norms) >= 2 * model.config.num_layers + 1
    assert {norm.eps for norm in norms} == {NORM_EPS}
