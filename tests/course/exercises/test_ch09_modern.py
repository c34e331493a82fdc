"""Each reference of notebook 09 beside an independent one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from tinyllm import ModelConfig
from tinyllm.course.exercises import ch09_modern as modern
from tinyllm.model.attention import CausalSelfAttention


def test_rms_norm_is_torchs():
    x, weight = torch.randn(2, 5, 12), torch.randn(12)
    torch.testing.assert_close(modern.rms_norm(x, weight, 0.1), F.rms_norm(x, (12,), weight, 0.1))
    torch.testing.assert_close(modern.rms_norm(x, weight), F.rms_norm(x, (12,), weight, 1e-5))


def test_rotate_is_a_product_of_complex_numbers():
    x, frequencies = torch.randn(7, 8), torch.rand(4)
    turned = torch.complex(*x.chunk(2, dim=-1)) * torch.exp(1j * torch.arange(7)[:, None] * frequencies)
    torch.testing.assert_close(modern.rotate(x, frequencies), torch.cat([turned.real, turned.imag], dim=-1))


def test_swiglu_is_that_of_transformers_llama():
    layer = LlamaMLP(LlamaConfig(hidden_size=8, intermediate_size=20, num_attention_heads=2))
    x = torch.randn(2, 3, 8)
    weights = (part.weight.T for part in (layer.up_proj, layer.gate_proj, layer.down_proj))
    torch.testing.assert_close(modern.swiglu(x, *weights), layer(x))


def test_shared_heads_are_those_of_torchs_grouped_attention():
    q, k, v = torch.randn(2, 6, 5, 4), torch.randn(2, 2, 5, 4), torch.randn(2, 2, 5, 4)
    shared = F.scaled_dot_product_attention(q, modern.share_heads(k, 6), modern.share_heads(v, 6), is_causal=True)
    torch.testing.assert_close(shared, F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3)])
def test_newton_schulz_ends_at_the_svds_orthogonal_factor(shape):
    matrix = torch.randn(shape, dtype=torch.double)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(modern.newton_schulz(matrix, 60), u @ vh)


def test_stable_decay_is_warmup_constant_and_a_line():
    rates = [modern.stable_decay(iteration, 100, 10, 0.3, 2.0) for iteration in range(101)]
    assert rates == pytest.approx(np.interp(range(101), [0, 10, 70, 100], [2 / 11, 2, 2, 0]))


@pytest.mark.parametrize(("H", "K"), [(6, 2), (4, 4), (3, 1)])
def test_the_mended_attention_is_the_packages(H, K):
    attention = CausalSelfAttention(
        ModelConfig(
            context_length=9, embedding_dim=4 * H, num_heads=H, num_kv_heads=K, dropout=0.0, positions="rotary",
            qk_norm=True, bias=False,
        )
    )  # fmt: skip
    for norm in (attention.query_norm, attention.key_norm):
        torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 9, 4 * H)
    mix = modern.mend_attention(x, attention.qkv.weight.T, attention.query_norm.weight, attention.key_norm.weight, H)
    torch.testing.assert_close(attention.projection(mix), attention(x))


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_gate_growth_is_what_transformers_llama_shows(factor):
    layer = LlamaMLP(LlamaConfig(hidden_size=64, intermediate_size=160, num_attention_heads=2))
    x = torch.randn(20, 64)
    for part in (layer.up_proj, layer.gate_proj):
        torch.nn.init.normal_(part.weight, std=0.01)
    before = layer(x).std()
    for part in (layer.up_proj, layer.gate_proj):
        part.weight.data *= factor
    assert modern.gate_growth(factor) == pytest.approx((layer(x).std() / before).item(), rel=0.1)
