"""The decoder-only transformer.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, D head_dim, V vocab_size, L layers.

Sources: Vaswani et al., "Attention Is All You Need" (2017); Radford et al., "Language Models are Unsupervised
Multitask Learners" (2019): LayerNorm before each sub-layer, learned positions, tied embeddings, initialisation.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyllm.config import ModelConfig
from tinyllm.dropout_attention import dropout_attention
from tinyllm.linear import Linear, linear
from tinyllm.loss import cross_entropy


class KVCache:
    """The keys and values of the tokens already seen, so that each new token costs one step.

    Holds two tensors of shape (L, B, H, context_length, D), of which the first `length` positions are filled.
    """

    def __init__(self, config: ModelConfig, batch_size: int, device: torch.device, dtype: torch.dtype):
        shape = (config.num_layers, batch_size, config.num_heads, config.context_length, config.head_dim)
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, H, new, D) keys and values to one layer; return all of that layer's (B, H, length + new, D)."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class CausalSelfAttention(nn.Module):
    """Each token mixes the values of the tokens up to itself: softmax(Q K^T / sqrt(D)) V, in H heads."""

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.num_heads = config.num_heads
        self.dropout = config.dropout
        self.layer = layer
        self.qkv = Linear(config.embedding_dim, 3 * config.embedding_dim)
        self.projection = Linear(config.embedding_dim, config.embedding_dim)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C). With a cache, `x` holds only the new tokens."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=-1)  # each (B, T, C)
        q, k, v = (t.view(B, T, self.num_heads, -1).transpose(1, 2) for t in (q, k, v))  # each (B, H, T, D)
        mask = None
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
            if T > 1 and cache.length > 0:  # new token i may look at the cached ones and at the new ones up to i
                mask = torch.ones(T, k.shape[2], dtype=torch.bool, device=x.device).tril(cache.length)
        dropout = self.dropout if self.training else 0.0
        if dropout and cache is None and q.device.type == "cpu" and q.dtype == torch.float32:
            y = dropout_attention(q, k, v, dropout)  # the same, in half the time and memory
        else:  # a single new token may look at everything before it; otherwise the mask hides what comes later
            y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None and T > 1)
        # y: (B, H, T, D)
        return self.projection(y.transpose(1, 2).reshape(B, T, C))  # heads side by side again: (B, T, C)


class FeedForward(nn.Module):
    """The same two-layer network for each token by itself."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.expand = Linear(config.embedding_dim, config.feedforward_dim)
        self.activation = nn.GELU("tanh" if config.activation == "gelu_tanh" else "none")
        self.projection = Linear(config.feedforward_dim, config.embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.projection(self.activation(self.expand(x)))


class TransformerBlock(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the residual stream and added back to it."""

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.embedding_dim)
        self.attention = CausalSelfAttention(config, layer)
        self.feedforward_norm = nn.LayerNorm(config.embedding_dim)
        self.feedforward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))


class GPT(nn.Module):
    """Token and position embeddings, a stack of blocks, and a head that shares the token embedding's matrix."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.embedding_dim)
        self.position_embedding = nn.Embedding(config.context_length, config.embedding_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(TransformerBlock(config, layer) for layer in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.embedding_dim)
        self._initialise()

    def _initialise(self) -> None:
        """GPT-2's: N(0, 0.02), biases 0; the 2L projections into the residual stream 1/sqrt(2L) smaller.

        So the stream's variance does not grow with depth, and the first loss is near ln V.
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                std = 0.02 / math.sqrt(2 * self.config.num_layers) if "projection" in name else 0.02
                nn.init.normal_(parameter, std=std)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, token_ids: Tensor, targets: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Predict the next token at each position.

        Args:
            token_ids: (B, T), T at most context_length, less what `cache` already holds.
            targets: (B, T), the ids one position later.
            cache: filled by this call with the new tokens.

        Returns:
            Logits (B, T, V); with targets their mean cross-entropy instead, in nats.
        """
        hidden = self.hidden(token_ids, cache)
        if targets is None:
            return linear(hidden, self.token_embedding.weight)  # (B, T, V): the head is the embedding, transposed
        return cross_entropy(hidden.flatten(0, 1), self.token_embedding.weight, targets.flatten())

    def hidden(self, token_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """The residual stream after the last block, normalised: (B, T) -> (B, T, C)."""
        past = 0 if cache is None else cache.length
        T = token_ids.shape[1]
        if past + T > self.config.context_length:
            raise ValueError(f"{past + T} tokens do not fit the model's context_length of {self.config.context_length}")
        positions = torch.arange(past, past + T, device=token_ids.device)
        x = self.dropout(self.token_embedding(token_ids) + self.position_embedding(positions))  # (B, T, C)
        for block in self.blocks:
            x = block(x, cache)
        if cache is not None:
            cache.length += T
        return self.final_norm(x)
