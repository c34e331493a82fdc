"""The linear layer for a few rows, against the product written out in float64 and against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from tinyllm.model.linear import BLOCKS, FEW, Linear, linear


@pytest.mark.parametrize("outputs", [1, BLOCKS - 1, BLOCKS, BLOCKS + 1, 8 * BLOCKS, 101])
@pytest.mark.parametrize("shape", [(7,), (1, 7), (FEW, 7), (FEW + 1, 7), (2, 3, 7), (1, 1, 7), (5, 1, 7), (0, 7)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_it_is_the_product_written_out(outputs, shape, biased, gradients):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(outputs, 7), torch.randn(outputs) if biased else None
    with torch.set_grad_enabled(gradients):
        y = linear(x, weight, bias)
    expected = (x.double()[..., None, :] * weight.double()).sum(-1) + (0 if bias is None else bias)
    torch.testing.assert_close(y, expected.float())
    assert y.is_contiguous()


def test_a_few_rows_do_not_go_the_slow_way(monkeypatch):
    monkeypatch.setattr(F, "linear", None)
    with torch.no_grad():
        assert linear(torch.randn(FEW, 7), torch.randn(12, 7)).shape == (FEW, 12)  # without calling it


@pytest.mark.parametrize("rows", [1, FEW + 1])
def test_gradients_are_those_of_torchs_layer(rows):
    torch.manual_seed(0)
    x, ours, theirs = torch.randn(rows, 7), Linear(7, 12), torch.nn.Linear(7, 12)
    ours.load_state_dict(theirs.state_dict())
    for layer in (ours, theirs):
        layer(x).square().sum().backward()
    assert torch.equal(ours.weight.grad, theirs.weight.grad)
    assert torch.equal(ours.bias.grad, theirs.bias.grad)


def test_a_weight_may_be_a_view_in_another_order():
    weight, x = torch.randn(7, 12).T, torch.randn(2, 7)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight), F.linear(x, weight))


def test_under_autocast_it_computes_in_the_lower_precision():
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.randn(1, 7), torch.randn(12, 7), torch.randn(12)).dtype == torch.bfloat16
