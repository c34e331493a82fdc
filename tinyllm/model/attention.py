"""Causal self-attention: each token looks back, never ahead.

Shapes: B batch, T time (tokens), C embedding_dim, H heads, K heads of keys and values, D head_dim.

Sources: Vaswani et al., "Attention Is All You Need" (2017); Ainslie et al., "GQA" (2023, grouped queries); Henry et
al., "Query-Key Normalization for Transformers" (2020).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tinyllm.config import ModelConfig
from tinyllm.model.dropout_attention import dropout_attention
from tinyllm.model.kv_cache import KVCache
from tinyllm.model.linear import Linear
from tinyllm.model.norm import NORM_EPS
from tinyllm.model.rotary import rotate


def qkv_sizes(config: ModelConfig) -> tuple[int, int, int]:
    """The widths of queries, keys and values, which one matrix product computes side by side."""
    kv_dim = config.kv_heads * config.head_dim
    return config.embedding_dim, kv_dim, kv_dim


class CausalSelfAttention(nn.Module):
    """Each token mixes the values of all tokens up to itself: softmax(Q K^T / sqrt(D)) V, in H heads.

    With fewer heads of keys and values (K), each is shared by H / K heads of queries.
    """

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.num_heads = config.num_heads
        self.num_kv_heads = config.kv_heads
        self.dropout = config.dropout
        self.layer = layer
        self.rotary = config.positions == "rotary"
        self.qkv_sizes = qkv_sizes(config)
        self.qkv = Linear(config.embedding_dim, sum(self.qkv_sizes), bias=config.bias)
        self.qk_norm = config.qk_norm
        if self.qk_norm:
            self.query_norm = nn.RMSNorm(config.head_dim, eps=NORM_EPS)
            self.key_norm = nn.RMSNorm(config.head_dim, eps=NORM_EPS)
        self.projection = Linear(config.embedding_dim, config.embedding_dim, bias=config.bias)

    def queries_keys_values(
        self, x: Float[Tensor, "B T C"], start: int = 0
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B K T D"], Float[Tensor, "B K T D"]]:
        """The queries, keys and values of each token; the first token is at position `start`."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(self.qkv_sizes, dim=-1)  # (B, T, C), and (B, T, K D) twice
        q, k, v = (t.view(B, T, -1, C // self.num_heads).transpose(1, 2) for t in (q, k, v))  # (B, H or K, T, D)
        if self.qk_norm:
            dtype = self.query_norm.weight.dtype  # float32 even under autocast, where q and k have half the bits
            q, k = self.query_norm(q.to(dtype)), self.key_norm(k.to(dtype))
        if self.rotary:
            q, k = rotate(q, start), rotate(k, start)
        return q.to(v.dtype), k.to(v.dtype), v  # norms and angles are float32, even under autocast

    def forward(self, x: Float[Tensor, "B T C"], cache: KVCache | None = None) -> Float[Tensor, "B T C"]:
        """Attend to the tokens up to each position; with a cache, `x` is only the new tokens."""
        B, T, C = x.shape
        q, k, v = self.queries_keys_values(x, 0 if cache is None else cache.length)
        mask = None
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
            if T > 1 and cache.length > 0:  # new token i attends to the cached tokens and to the new ones up to i
                mask = torch.ones(T, k.shape[2], dtype=torch.bool, device=x.device).tril(cache.length)
        dropout = self.dropout if self.training else 0.0
        if dropout and cache is None and q.device.type == "cpu" and q.dtype == torch.float32:
            k, v = self.repeat_heads(k), self.repeat_heads(v)
            y = dropout_attention(q, k, v, dropout)  # the same result in half the time and memory
        else:  # a single new token attends to everything before it; otherwise the mask hides what comes later
            grouped = self.num_kv_heads != self.num_heads
            causal = mask is None and T > 1
            y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=causal, enable_gqa=grouped)
        side_by_side = y.transpose(1, 2).reshape(B, T, C)  # from (B, H, T, D)
        mixed: Tensor = self.projection(side_by_side)
        return mixed

    def repeat_heads(self, x: Float[Tensor, "B K T D"]) -> Float[Tensor, "B H T D"]:
        """Repeat the keys or values for each head of queries that shares them."""
        return x.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1)
