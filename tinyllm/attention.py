"""Causal self-attention, its cache of keys and values, and rotary positions.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, K heads of keys and values, D head_dim, L layers.

Sources: Vaswani et al., "Attention Is All You Need" (2017); Su et al., "RoFormer" (2021, rotary positions); Ainslie et
al., "GQA" (2023, grouped queries); Henry et al., "Query-Key Normalization for Transformers" (2020).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyllm.config import ModelConfig
from tinyllm.dropout_attention import dropout_attention
from tinyllm.linear import Linear

NORM_EPS = 1e-5  # keeps a norm from dividing by zero; the same in every norm
ROTARY_BASE = 10_000.0  # of the wavelengths, which grow from 2 pi towards 2 pi times this many tokens


class KVCache:
    """The keys and values of the tokens already seen, so that each new token costs one step.

    Holds two tensors of shape (L, B, K, context_length, D), of which the first `length` positions are filled.
    """

    def __init__(self, config: ModelConfig, batch_size: int, device: torch.device, dtype: torch.dtype):
        shape = (config.num_layers, batch_size, config.kv_heads, config.context_length, config.head_dim)
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, K, new, D) keys and values to one layer; return all of that layer's (B, K, length + new, D)."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


def rotate(x: Tensor, start: int = 0) -> Tensor:
    """Rotary positions: turn the pairs of numbers in queries or keys by angles that grow with the token's position.

    x is (B, H, T, D), its first token at position `start`. Number i of the first half and number i of the second form
    a pair, turned by position * base^(-2i / D). A query times a key then depends on how far apart the two stand.
    """
    T, D = x.shape[-2:]
    frequencies = 1 / ROTARY_BASE ** (torch.arange(0, D, 2, device=x.device) / D)  # (D / 2)
    angles = torch.arange(start, start + T, device=x.device)[:, None] * frequencies  # (T, D / 2)
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)  # each (B, H, T, D / 2)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class CausalSelfAttention(nn.Module):
    """Each token mixes the values of the tokens up to itself: softmax(Q K^T / sqrt(D)) V, in H heads.

    With fewer heads of keys and values (K), each of these serves H / K heads of queries.
    """

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.num_heads = config.num_heads
        self.num_kv_heads = config.kv_heads
        self.dropout = config.dropout
        self.layer = layer
        self.rotary = config.positions == "rotary"
        kv_dim = config.kv_heads * config.head_dim
        self.qkv_sizes = (config.embedding_dim, kv_dim, kv_dim)  # of queries, keys, values in the fused product
        self.qkv = Linear(config.embedding_dim, sum(self.qkv_sizes), bias=config.bias)
        self.qk_norm = config.qk_norm
        if self.qk_norm:
            self.query_norm = nn.RMSNorm(config.head_dim, eps=NORM_EPS)
            self.key_norm = nn.RMSNorm(config.head_dim, eps=NORM_EPS)
        self.projection = Linear(config.embedding_dim, config.embedding_dim, bias=config.bias)

    def queries_keys_values(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, C) -> queries (B, H, T, D), keys and values (B, K, T, D); the first token has position `start`."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(self.qkv_sizes, dim=-1)  # (B, T, C), and (B, T, K D) twice
        q, k, v = (t.view(B, T, -1, C // self.num_heads).transpose(1, 2) for t in (q, k, v))  # (B, H or K, T, D)
        if self.qk_norm:
            dtype = self.query_norm.weight.dtype  # float32 also under autocast, where q and k are half as wide
            q, k = self.query_norm(q.to(dtype)), self.key_norm(k.to(dtype))
        if self.rotary:
            q, k = rotate(q, start), rotate(k, start)
        return q.to(v.dtype), k.to(v.dtype), v  # norms and angles are float32, also under autocast

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C). With a cache, `x` holds only the new tokens."""
        B, T, C = x.shape
        q, k, v = self.queries_keys_values(x, 0 if cache is None else cache.length)
        mask = None
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
            if T > 1 and cache.length > 0:  # new token i may look at the cached ones and at the new ones up to i
                mask = torch.ones(T, k.shape[2], dtype=torch.bool, device=x.device).tril(cache.length)
        dropout = self.dropout if self.training else 0.0
        if dropout and cache is None and q.device.type == "cpu" and q.dtype == torch.float32:
            k, v = self.repeat_heads(k), self.repeat_heads(v)
            y = dropout_attention(q, k, v, dropout)  # the same, in half the time and memory
        else:  # a single new token may look at everything before it; otherwise the mask hides what comes later
            grouped = self.num_kv_heads != self.num_heads
            causal = mask is None and T > 1
            y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=causal, enable_gqa=grouped)
        # y: (B, H, T, D)
        return self.projection(y.transpose(1, 2).reshape(B, T, C))  # heads side by side again: (B, T, C)

    def repeat_heads(self, x: Tensor) -> Tensor:
        """Keys or values once for each head of queries that they serve: (B, K, T, D) -> (B, H, T, D)."""
        return x.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1)
