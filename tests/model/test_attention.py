"""Attention, against softmax(Q K^T / sqrt(D)) V written out one token at a time, and against transformers' Qwen3."""

import dataclasses
import itertools
import math

import pytest
import torch
from small_models import perturbed, random_ids
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from tinyllm import GPT, CausalSelfAttention, KVCache, ModelConfig
from tinyllm.model.attention import qkv_sizes


def slow_attention(layer: CausalSelfAttention, x: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V, one token, one head at a time."""
    B, T, C = x.shape
    D = C // layer.num_heads
    q, k, v = (x @ layer.qkv.weight.T + layer.qkv.bias).split(C, dim=-1)
    y = torch.zeros(B, T, C)
    for b, t, h in itertools.product(range(B), range(T), range(layer.num_heads)):
        part = slice(h * D, (h + 1) * D)
        scores = torch.stack([q[b, t, part] @ k[b, s, part] / math.sqrt(D) for s in range(t + 1)])
        weights = torch.exp(scores) / torch.exp(scores).sum()
        y[b, t, part] = sum(weights[s] * v[b, s, part] for s in range(t + 1))
    return y @ layer.projection.weight.T + layer.projection.bias


@torch.no_grad()
def test_attention_is_softmax_of_scaled_products_over_the_past(tiny_config):
    layer = perturbed(tiny_config).blocks[1].attention
    x = torch.randn(2, 7, tiny_config.embedding_dim)
    torch.testing.assert_close(layer(x), slow_attention(layer, x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_no_token_looks_ahead_and_each_looks_at_itself_and_the_past(model, config):
    ids = random_ids(config, 1, config.context_length)
    before = model(ids)[0]
    for t in range(config.context_length):
        changed = ids.clone()
        changed[0, t] = (ids[0, t] + 1) % config.vocab_size
        after = model(changed)[0]
        torch.testing.assert_close(after[:t], before[:t], rtol=0, atol=0)
        moved = (after[t:] - before[t:]).abs().amax(-1)
        assert (moved > 1e-4).all(), f"token {t} does not reach every later position"


@torch.no_grad()
def test_qk_norm_gives_the_logits_of_transformers_qwen3():
    """Qwen3 is a Llama with RMSNorm on each head's queries and keys."""
    torch.manual_seed(0)
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=89, max_position_embeddings=24, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, intermediate_size=50, rms_norm_eps=1e-5, tie_word_embeddings=True,
        )
    ).eval()  # fmt: skip
    for parameter in theirs.parameters():
        parameter += 0.2 * torch.randn_like(parameter)
    config = ModelConfig(
        89, 24, 32, num_layers=2, num_heads=4, feedforward_dim=50, activation="swiglu", norm="rmsnorm",
        positions="rotary", num_kv_heads=2, qk_norm=True, bias=False,
    )  # fmt: skip
    model = GPT(config).eval()
    weights = {
        "token_embedding.weight": theirs.model.embed_tokens.weight,
        "final_norm.weight": theirs.model.norm.weight,
    }
    for index, layer in enumerate(theirs.model.layers):
        attention, mlp = layer.self_attn, layer.mlp
        ours = {
            "attention_norm": layer.input_layernorm.weight,
            "attention.qkv": torch.cat(
                [part.weight for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
            ),
            "attention.query_norm": attention.q_norm.weight,
            "attention.key_norm": attention.k_norm.weight,
            "attention.projection": attention.o_proj.weight,
            "feedforward_norm": layer.post_attention_layernorm.weight,
            "feedforward.gate": mlp.gate_proj.weight,
            "feedforward.expand": mlp.up_proj.weight,
            "feedforward.projection": mlp.down_proj.weight,
        }
        weights |= {f"blocks.{index}.{name}.weight": weight for name, weight in ours.items()}
    model.load_state_dict(weights)
    ids = random_ids(config, 3, 24)
    torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_grouped_queries_are_full_attention_with_keys_and_values_repeated(tiny_config, dropout):
    """Also with dropout, where attention is the package's own."""
    grouped = dataclasses.replace(tiny_config, embedding_dim=32, num_heads=4, num_kv_heads=2, dropout=dropout)
    full = dataclasses.replace(grouped, num_kv_heads=None)
    layer, other = CausalSelfAttention(grouped), CausalSelfAttention(full)

    def repeat(tensor: Tensor) -> Tensor:
        """Rows of queries, of two heads of keys, of two heads of values: each of the heads twice."""
        q, k, v = tensor.split([32, 16, 16])
        return torch.cat([q, *(t.unflatten(0, (2, 8)).repeat_interleave(2, dim=0).flatten(0, 1) for t in (k, v))])

    state = layer.state_dict()
    other.load_state_dict(state | {name: repeat(state[name]) for name in ("qkv.weight", "qkv.bias")})
    x = torch.randn(2, 9, 32)
    results = []
    for one in (layer, other):
        torch.manual_seed(1)
        results.append(one(x))
    torch.testing.assert_close(*results)
    assert KVCache(grouped, 3, x.device, x.dtype).keys.shape == (2, 3, 2, 16, 8)


@torch.no_grad()
def test_queries_keys_and_values_have_their_own_heads_and_start_at_any_position(modern_config):
    """Rotary positions count from `start`: the second half of a text, on its own, gives the same as within the text."""
    layer = CausalSelfAttention(modern_config)
    x = torch.randn(2, 10, 32)
    whole = layer.queries_keys_values(x)
    assert [tuple(part.shape) for part in whole] == [(2, 4, 10, 8), (2, 2, 10, 8), (2, 2, 10, 8)]
    assert qkv_sizes(modern_config) == (32, 16, 16)
    half = layer.queries_keys_values(x[:, 5:], start=5)
    for one, other in zip(whole, half, strict=True):
        torch.testing.assert_close(one[:, :, 5:], other)
    assert not torch.allclose(whole[0][:, :, 5:], layer.queries_keys_values(x[:, 5:])[0])


def test_heads_are_repeated_side_by_side(modern_config):
    """Heads of queries 0 and 1 share the first head of keys, 2 and 3 the second."""
    x = torch.randn(2, 2, 3, 8)
    repeated = CausalSelfAttention(modern_config).repeat_heads(x)
    assert torch.equal(repeated, x[:, [0, 0, 1, 1]])
