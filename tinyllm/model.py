"""The decoder-only transformer.

Shape letters: B batch, T time (tokens), C embedding_dim, V vocab_size, L layers.

Sources: Vaswani et al., "Attention Is All You Need" (2017); Radford et al., "Language Models are Unsupervised
Multitask Learners" (2019): LayerNorm before each sub-layer, learned positions, tied embeddings, initialisation. The
choices beside GPT-2's: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019); Gemma Team, "Gemma 2" (2024,
soft-capped logits); Zhang et al., "Fixup Initialization" (2019, zero projections); see also attention and feedforward.
"""

import math

import torch
from torch import Tensor, nn

from tinyllm.attention import NORM_EPS, CausalSelfAttention, KVCache
from tinyllm.config import ModelConfig
from tinyllm.feedforward import FeedForward
from tinyllm.linear import linear
from tinyllm.loss import cross_entropy, softcap


def make_norm(config: ModelConfig) -> nn.Module:
    """What each sub-layer reads through: LayerNorm, or RMSNorm, which divides by the root mean square and no more."""
    if config.norm == "rmsnorm":
        return nn.RMSNorm(config.embedding_dim, eps=NORM_EPS)
    return nn.LayerNorm(config.embedding_dim, eps=NORM_EPS, bias=config.bias)


class TransformerBlock(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the residual stream and added back to it."""

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = CausalSelfAttention(config, layer)
        self.feedforward_norm = make_norm(config)
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
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context_length, config.embedding_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(TransformerBlock(config, layer) for layer in range(config.num_layers))
        self.final_norm = make_norm(config)
        self._initialise()

    def _initialise(self) -> None:
        """GPT-2's: N(0, 0.02), biases 0; the 2L projections into the residual stream 1/sqrt(2L) smaller.

        So the stream's variance does not grow with depth, and the first loss is near ln V. With `zero_init` those
        projections start at 0: each block begins by passing the stream on as it is.
        """
        smaller = 0 if self.config.zero_init else 1 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02 * smaller if "projection" in name else 0.02)
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
            logits = linear(hidden, self.token_embedding.weight)  # (B, T, V): the head is the embedding, transposed
            return softcap(logits, self.config.logit_softcap)
        weight, bound = self.token_embedding.weight, self.config.logit_softcap
        return cross_entropy(hidden.flatten(0, 1), weight, targets.flatten(), bound)

    def hidden(self, token_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """The residual stream after the last block, normalised: (B, T) -> (B, T, C)."""
        past = 0 if cache is None else cache.length
        T = token_ids.shape[1]
        if past + T > self.config.context_length:
            raise ValueError(f"{past + T} tokens do not fit the model's context_length of {self.config.context_length}")
        x = self.token_embedding(token_ids)  # (B, T, C)
        if self.config.positions == "learned":  # rotary ones come in with each layer's queries and keys
            x = x + self.position_embedding(torch.arange(past, past + T, device=token_ids.device))
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, cache)
        if cache is not None:
            cache.length += T
        return self.final_norm(x)
