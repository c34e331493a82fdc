"""The decoder-only transformer.

Shapes: B batch, T time (tokens), C embedding_dim, V vocab_size, L layers, N any count.

Sources: Vaswani et al., "Attention Is All You Need" (2017); Radford et al., "Language Models are Unsupervised
Multitask Learners" (2019): LayerNorm before each sub-layer, learned positions, tied embeddings, initialisation.
Alternatives to GPT-2's choices: Gemma Team, "Gemma 2" (2024, soft-capped logits); Zhang et al., "Fixup Initialization"
(2019, zero projections); see also attention, feedforward, norm and rotary.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tinyllm.config import ModelConfig
from tinyllm.model.attention import CausalSelfAttention
from tinyllm.model.feedforward import FeedForward
from tinyllm.model.kv_cache import KVCache
from tinyllm.model.linear import linear
from tinyllm.model.lora import LoRALinear
from tinyllm.model.loss import cross_entropy, softcap, token_losses
from tinyllm.model.norm import make_norm


class TransformerBlock(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy of the residual stream and adds its output to it."""

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = CausalSelfAttention(config, layer)
        self.feedforward_norm = make_norm(config)
        self.feedforward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "B T C"], cache: KVCache | None = None) -> Float[Tensor, "B T C"]:
        """Run both sub-layers; with a cache, `x` is only the new tokens."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))
        x = x + self.dropout(self.feedforward(self.feedforward_norm(x)))
        return x


class GPT(nn.Module):
    """Token and position embeddings, a stack of blocks, and a head that shares the token embedding's matrix."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.recompute = False  # whether each block runs again in the backward pass: less memory, more time
        self.token_embedding = nn.Embedding(config.vocab_size, config.embedding_dim)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context_length, config.embedding_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(TransformerBlock(config, layer) for layer in range(config.num_layers))
        self.final_norm = make_norm(config)
        self._initialise()

    def _initialise(self) -> None:
        """As GPT-2: N(0, 0.02), biases 0; the 2L projections into the residual stream are scaled by 1/sqrt(2L).

        So the stream's variance does not grow with depth, and the first loss is near ln V. With `zero_init` those
        projections start at 0, and each block at first passes the stream on unchanged. With `lora` all of this is
        frozen but the corrections, which start at 0.
        """
        scale = 0 if self.config.zero_init else 1 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02 * scale if "projection" in name else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        if self.config.lora:
            self.requires_grad_(False)
            for layer in (module for module in self.modules() if isinstance(module, LoRALinear)):
                layer.begin_correction()

    @property
    def device(self) -> torch.device:
        """The device the weights are on."""
        return self.token_embedding.weight.device

    def forward(
        self, token_ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"] | None = None, cache: KVCache | None = None
    ) -> Float[Tensor, "B T V"] | Float[Tensor, ""]:
        """Predict the next token at each position.

        Args:
            token_ids: At most context_length of them, less those already in `cache`.
            targets: The ids one position later.
            cache: What earlier calls have read; this call adds the new tokens to it.

        Returns:
            The logits, or with targets the mean cross-entropy in nats.
        """
        hidden = self.hidden(token_ids, cache)
        if targets is None:
            return self.head(hidden)
        weight, bound = self.token_embedding.weight, self.config.logit_softcap
        return cross_entropy(hidden.flatten(0, 1), weight, targets.flatten(), bound)

    def hidden(self, token_ids: Int[Tensor, "B T"], cache: KVCache | None = None) -> Float[Tensor, "B T C"]:
        """The residual stream after the last block, normalised. Raises ValueError beyond context_length tokens."""
        T = token_ids.shape[1]
        past = 0 if cache is None else cache.length
        if past + T > self.config.context_length:
            raise ValueError(f"{past + T} tokens do not fit the model's context_length of {self.config.context_length}")
        x: Tensor = self.token_embedding(token_ids)  # (B, T, C)
        if self.config.positions == "learned":  # rotary positions enter with each layer's queries and keys
            positions = torch.arange(T, device=token_ids.device) if cache is None else cache.positions(T)
            x = x + self.position_embedding(positions)
        x = self.dropout(x)
        for block in self.blocks:
            again = self.recompute and cache is None and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if again else block(x, cache)
        if cache is not None:
            cache.advance(T)
        x = self.final_norm(x)
        return x

    def head(self, hidden: Float[Tensor, "*shape C"]) -> Float[Tensor, "*shape V"]:
        """Turn what `hidden` returns into logits: its product with the token embedding, then the soft cap if any."""
        return softcap(linear(hidden, self.token_embedding.weight), self.config.logit_softcap)

    def token_losses(self, hidden: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """-log p of each target, in nats, without gradients and without all logits in memory at once."""
        return token_losses(hidden, self.token_embedding.weight, targets, self.config.logit_softcap)
