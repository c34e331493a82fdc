"""Causal self-attention: each token looks back, never ahead.

Shapes: B batch, T time (tokens), C embedding_dim, H heads, K heads of keys and values, D head_dim.

Sources: Vaswani et al., "Attention Is All You Need" (2017); Ainslie et al., "GQA" (2023, grouped queries); Henry et
al., "Query-Key Normalization for Transformers" (2020).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tinyllm.config import ModelConfig
from tinyllm.model.dropout_attention import dropout_attention
from tinyllm.model.kv_cache import KVCache
from tinyllm.model.lora import make_linear
from tinyllm.model.norm import NORM_EPS
from tinyllm.model.rotary import rotary_table, rotate


def qkv_sizes(config: ModelConfig) -> tuple[int, int, int]:
    """The widths of queries, keys and values, which one matrix product computes side by side."""
    kv_dim = config.kv_heads * config.head_dim
    return config.embedding_dim, kv_dim, kv_dim


class CausalSelfAttention(nn.Module):
    """Each token mixes the values of all tokens up to itself: softmax(Q K^T / sqrt(D)) V, in H heads.

    With fewer heads of keys and values (K), each is shared by H / K heads of queries.
    """

    rotary_table: Tensor

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.num_heads = config.num_heads
        self.num_kv_heads = config.kv_heads
        self.dropout = config.dropout
        self.layer = layer
        self.rotary = config.positions == "rotary"
        if self.rotary:  # computed once: on a GPU the angles' cosines would take longer than the products they go into
            table = rotary_table(torch.arange(config.context_length), config.head_dim)
            self.register_buffer("rotary_table", table, persistent=False)
        self.qkv_sizes = qkv_sizes(config)
        self.qkv = make_linear(config, config.embedding_dim, sum(self.qkv_sizes))
        self.qk_norm = config.qk_norm
        if self.qk_norm:
            self.query_norm = nn.RMSNorm(config.head_dim, eps=NORM_EPS)
            self.key_norm = nn.RMSNorm(config.head_dim, eps=NORM_EPS)
        self.projection = make_linear(config, config.embedding_dim, config.embedding_dim)

    def queries_keys_values(
        self, x: Float[Tensor, "B T C"], positions: Int[Tensor, " T"] | None = None
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B K T D"], Float[Tensor, "B K T D"]]:
        """The queries, keys and values of each token; its position is 0, 1, 2 ... unless given."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(self.qkv_sizes, dim=-1)  # (B, T, C), and (B, T, K D) twice
        q, k, v = (t.view(B, T, -1, C // self.num_heads) for t in (q, k, v))  # (B, T, H or K, D)
        if self.qk_norm:
            dtype = self.query_norm.weight.dtype  # float32 even under autocast, where q and k have half the bits
            q, k = self.query_norm(q.to(dtype)), self.key_norm(k.to(dtype))
        if self.rotary:
            table = self.rotary_table
            table = table[:, :T] if positions is None else table.index_select(1, positions)
            q, k = rotate(q, table), rotate(k, table)
        q, k = q.to(v.dtype), k.to(v.dtype)  # norms and angles are float32, even under autocast
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def forward(self, x: Float[Tensor, "B T C"], cache: KVCache | None = None) -> Float[Tensor, "B T C"]:
        """Attend to the tokens up to each position; with a cache, `x` is only the new tokens."""
        B, T, C = x.shape
        if cache is None:
            y = self._attend(*self.queries_keys_values(x), None)
        else:
            q, k, v = self.queries_keys_values(x, cache.positions(T))
            y = self._attend(q, *cache.append(self.layer, k, v), cache.visible(T))
        side_by_side = y.transpose(1, 2).reshape(B, T, C)  # from (B, H, T, D)
        mixed: Tensor = self.projection(side_by_side)
        return mixed

    def _attend(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B K all D"],
        v: Float[Tensor, "B K all D"],
        visible: Bool[Tensor, "T all"] | None,
    ) -> Float[Tensor, "B H T D"]:
        """softmax(Q K^T / sqrt(D)) V. Where nothing says what is `visible`: each token and those before it."""
        if visible is not None and q.shape[2] == 1:  # of one query the fused kernel makes poor use
            k, v = self.repeat_heads(k), self.repeat_heads(v)
            scores = (q @ k.mT) / math.sqrt(q.shape[3])  # (B, H, 1, all)
            return scores.masked_fill(~visible, -torch.inf).softmax(-1) @ v
        dropout = self.dropout if self.training else 0.0
        if dropout and visible is None and q.device.type == "cpu" and q.dtype == torch.float32:
            return dropout_attention(q, self.repeat_heads(k), self.repeat_heads(v), dropout)  # half the time and memory
        grouped = self.num_kv_heads != self.num_heads
        causal = visible is None and q.shape[2] > 1  # a single new token attends to everything before it
        return F.scaled_dot_product_attention(q, k, v, visible, dropout, is_causal=causal, enable_gqa=grouped)

    def repeat_heads(self, x: Float[Tensor, "B K T D"]) -> Float[Tensor, "B H T D"]:
        """Repeat the keys or values for each head of queries that shares them."""
        return x.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1)
