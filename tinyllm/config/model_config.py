"""The shape of a model."""

from dataclasses import dataclass
from typing import Literal, get_args

from tinyllm.system.validation import (
    require,
    require_choice,
    require_flag,
    require_number,
    require_positive,
    require_whole,
)

Activation = Literal["gelu", "gelu_tanh", "relu_squared", "swiglu"]
Norm = Literal["layernorm", "rmsnorm"]
Positions = Literal["learned", "rotary"]


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a `GPT`. The defaults are the reference model: 51,213,824 parameters.

    The fields from `activation` on are choices that models since GPT-2 have made differently.
    """

    vocab_size: int = 50_257
    """Number of different tokens (V); for a tokenizer learned from the run's text, how many to learn."""
    context_length: int = 512
    """The most tokens the model sees at once (T)."""
    embedding_dim: int = 512
    """Width of the residual stream (C)."""
    num_layers: int = 8
    """Number of transformer blocks (L)."""
    num_heads: int = 8
    """Attention heads per block (H); must divide embedding_dim."""
    feedforward_dim: int = 2048
    """Width inside the feed-forward layer (F)."""
    dropout: float = 0.1
    """Share of activations set to zero during training."""
    activation: Activation = "gelu"
    """The feed-forward layer's non-linearity: exact GELU, GPT-2's approximation, ReLU squared, or SwiGLU (gated)."""
    norm: Norm = "layernorm"
    """How each sub-layer's input is normalised: LayerNorm, or RMSNorm (no mean, no bias)."""
    positions: Positions = "learned"
    """How the model knows order: a learned vector per position, or queries and keys rotated by it (RoPE)."""
    num_kv_heads: int | None = None
    """Heads of keys and values (K), each shared by num_heads / K heads of queries; by default num_heads."""
    qk_norm: bool = False
    """Whether each head's queries and keys are normalised (RMSNorm) before their dot product."""
    bias: bool = True
    """Whether linear layers and LayerNorm add a learned bias."""
    zero_init: bool = False
    """Whether the projections into the residual stream start at zero."""
    logit_softcap: float | None = None
    """Soft bound of the logits: x becomes bound * tanh(x / bound); by default none."""
    lora: int = 0
    """Rank of the low-rank correction (LoRA) beside each matrix in the blocks. It alone is trained; 0: none."""

    def __post_init__(self) -> None:
        # No model comes near these bounds; a file that claims more must not make us allocate it.
        require_whole(self, 1, 10_000_000, "vocab_size", "context_length", "feedforward_dim")
        require_whole(self, 1, 100_000, "embedding_dim", "num_heads")
        require_whole(self, 1, 1_000, "num_layers")
        divides = self.embedding_dim % self.num_heads == 0
        require(divides, "num_heads", self.num_heads, f"a divisor of embedding_dim ({self.embedding_dim})")
        require_number(self, 0, 0.99, "dropout")
        require_choice(self, "activation", get_args(Activation))
        require_choice(self, "norm", get_args(Norm))
        require_choice(self, "positions", get_args(Positions))
        paired = self.positions == "learned" or self.head_dim % 2 == 0
        require(paired, "positions", self.positions, f"'learned' where the width of a head is odd ({self.head_dim})")
        if self.num_kv_heads is not None:
            require_whole(self, 1, 100_000, "num_kv_heads")
            divides = self.num_heads % self.num_kv_heads == 0
            require(divides, "num_kv_heads", self.num_kv_heads, f"a divisor of num_heads ({self.num_heads})")
        require_whole(self, 0, 10_000, "lora")
        require_flag(self, "qk_norm", "bias", "zero_init")
        if self.logit_softcap is not None:
            require_positive(self, "logit_softcap")

    @property
    def head_dim(self) -> int:
        """Width of one attention head (D)."""
        return self.embedding_dim // self.num_heads

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values (K), with the default filled in."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads
