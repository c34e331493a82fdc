"""Attention with dropout, against the formula written out with the same entries dropped."""

import math

import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from tinyllm.model import dropout_attention
from tinyllm.model.dropout_attention import dropout_attention as attend


def make(T: int, D: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return tuple(torch.randn(2, 3, T, D, dtype=dtype, requires_grad=True) for _ in range(3))


def seeded(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """The same entries dropped at each call."""
    torch.manual_seed(1)
    return attend(q, k, v, dropout)


@pytest.fixture(params=[1, 4, 5, 9, 100])
def rows(request, monkeypatch) -> int:
    monkeypatch.setattr(dropout_attention, "ROWS", request.param)
    return request.param


def test_without_dropout_it_is_torchs(rows):
    q, k, v = make(9, 4)
    torch.testing.assert_close(attend(q, k, v, 0.0), F.scaled_dot_product_attention(q, k, v, is_causal=True))


def test_result_and_gradients_are_those_of_the_formula(rows):
    q, k, v = make(9, 9)
    kept = seeded(q, k, torch.eye(9, dtype=torch.float64).expand_as(v), 0.4) != 0  # its result: the weights themselves
    weights = (q @ k.mT / math.sqrt(9)).masked_fill(~torch.ones(9, 9).tril().bool(), -math.inf).softmax(-1)
    expected = (weights * kept / 0.6) @ v
    found = seeded(q, k, v, 0.4)
    torch.testing.assert_close(found, expected)
    grad = torch.randn_like(found)
    theirs = torch.autograd.grad(expected, [q, k, v], grad)
    for ours, their in zip(torch.autograd.grad(found, [q, k, v], grad), theirs, strict=True):
        torch.testing.assert_close(ours, their)


def test_gradients_are_those_of_differences(rows):
    assert torch.autograd.gradcheck(lambda *qkv: seeded(*qkv, 0.3), make(5, 2))


def test_each_weight_is_dropped_as_often_as_asked_and_none_is_later_than_its_query():
    q, k, _ = make(200, 200, torch.float32)
    weights = attend(q, k, torch.eye(200).expand_as(q), 0.1)
    seen = torch.ones(200, 200).tril().bool()
    assert not weights[..., ~seen].any()
    dropped = (weights[..., seen] == 0).sum().item()
    assert scipy.stats.binomtest(dropped, 6 * int(seen.sum()), 0.1).pvalue > 1e-3
    assert weights.sum(-1).mean().item() == pytest.approx(1, abs=0.01)
