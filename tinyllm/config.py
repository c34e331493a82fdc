"""The settings of a run: frozen dataclasses that check themselves.

Each field has its docstring on the line below it: editors show it, and the command line prints it as the option's
help. No two fields of a run share a name, so the name alone is enough to override any of them.
"""

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tinyllm.system.validation import (
    LARGEST,
    is_whole,
    near_names,
    require,
    require_choice,
    require_flag,
    require_number,
    require_positive,
    require_seed,
    require_whole,
)

Activation = Literal["gelu", "gelu_tanh", "relu_squared", "swiglu"]
Norm = Literal["layernorm", "rmsnorm"]
Positions = Literal["learned", "rotary"]
Optimizer = Literal["adamw", "muon"]
Schedule = Literal["cosine", "warmup_stable_decay"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


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


@dataclass(frozen=True)
class DataConfig:
    """Which text, and how it is cut into tokens."""

    data: str = "wikitext-103-raw-v1"
    """TinyWiki ("tinywiki", "tinywiki-full"), a WikiText on the Hub, or your own file or folder."""
    tokenizer: Literal["gpt2", "bpe"] = "gpt2"
    """GPT-2's vocabulary, or byte-pair encoding learned from this text."""
    block_begin: Literal["anywhere", "document"] = "anywhere"
    """Where training blocks begin: anywhere in the stream, or each at the start of a document that fits the context."""
    validation_fraction: float = 0.01
    """Share of the training articles held out to monitor training (at least one)."""
    split_seed: int = 0
    """Which articles are held out."""

    def __post_init__(self) -> None:
        require(isinstance(self.data, str) and self.data != "", "data", self.data, "a corpus name or a path")
        require_choice(self, "tokenizer", ("gpt2", "bpe"))
        require_choice(self, "block_begin", ("anywhere", "document"))
        require_number(self, 0, 0.5, "validation_fraction")
        require_seed(self, "split_seed")


@dataclass(frozen=True)
class TrainingConfig:
    """How the model learns. The defaults are those of the full WikiText-103 run."""

    max_iterations: int = 100_000
    """Number of optimizer steps."""
    batch_size: int = 8
    """Blocks per optimizer step, together with gradient_accumulation_steps: only their product matters."""
    gradient_accumulation_steps: int = 4
    """Times batch_size: the blocks of one optimizer step. The device decides how they are cut into forward passes."""
    optimizer: Optimizer = "adamw"
    """AdamW for everything, or Muon for the matrices inside the blocks and AdamW for the rest, at the same rate."""
    schedule: Schedule = "cosine"
    """The learning rate after warm-up: down half a cosine; or constant, then down a line (WSD)."""
    decay_fraction: float = 0.2
    """With warmup_stable_decay: the share of the run, at its end, over which the rate falls."""
    max_learning_rate: float = 6e-4
    """Learning rate at the end of warm-up."""
    min_learning_rate: float = 6e-5
    """Learning rate at the end of the run."""
    warmup_iterations: int | None = None
    """Steps of linear warm-up; by default min(2000, max_iterations // 50)."""
    weight_decay: float = 0.1
    """Decoupled weight decay, on matrices only."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's decay rates for its averages of the gradient and of its square."""
    max_gradient_norm: float = 1.0
    """A gradient with a larger norm is scaled down to this one."""
    evaluation_interval: int = 1000
    """Steps between measurements of the held-out loss."""
    evaluation_blocks: int = 64
    """Held-out blocks (or TinyWiki articles) scored at each measurement, always the same ones."""
    checkpoint_interval: int = 5000
    """Steps between checkpoints (one is also written every 15 minutes)."""
    precision: Precision = "auto"
    """Number format of matrix products; "auto": bfloat16 on GPUs that have it, float16 on older ones, else float32."""
    device: str = "auto"
    """"cuda", "mps", "cpu", or "auto": the first of these that is available."""
    compile: bool | None = None
    """Whether to use torch.compile; by default on CUDA where a compiler is found."""
    deterministic: bool = False
    """Whether a GPU computes the same bits each time, which is slower; the same CPU always does."""
    recompute: bool = False
    """Whether each layer is computed again in the backward pass instead of kept: less memory, more time."""
    seed: int = 0
    """Fixes the initial weights, the order of the blocks and the dropout."""

    def __post_init__(self) -> None:
        require_whole(
            self, 1, 10**9, "max_iterations", "batch_size", "gradient_accumulation_steps", "evaluation_interval",
            "evaluation_blocks", "checkpoint_interval",
        )  # fmt: skip
        require(self.global_batch <= 10**9, "batch_size", self.batch_size, "at most 10**9 blocks with its accumulation")
        require_choice(self, "optimizer", get_args(Optimizer))
        require_choice(self, "schedule", get_args(Schedule))
        require_number(self, 0, 1, "decay_fraction")
        require_positive(self, "max_learning_rate", "max_gradient_norm")
        require_number(self, 0, LARGEST, "min_learning_rate", "weight_decay")
        bound = f"at most max_learning_rate ({self.max_learning_rate})"
        require(self.min_learning_rate <= self.max_learning_rate, "min_learning_rate", self.min_learning_rate, bound)
        require_seed(self, "seed")
        if self.warmup_iterations is not None:
            require_whole(self, 0, 10**9, "warmup_iterations")
            fits = self.warmup_iterations < self.max_iterations
            require(fits, "warmup_iterations", self.warmup_iterations, f"below max_iterations ({self.max_iterations})")
        pair = isinstance(self.betas, tuple | list) and len(self.betas) == 2
        rates = pair and all((is_whole(beta) or isinstance(beta, float)) and 0 <= beta < 1 for beta in self.betas)
        require(rates, "betas", self.betas, "two numbers from 0 up to below 1")
        object.__setattr__(self, "betas", tuple(self.betas))
        require_choice(self, "precision", get_args(Precision))
        require(isinstance(self.device, str), "device", self.device, "a string such as 'cuda' or 'cpu'")
        require(self.compile is None or isinstance(self.compile, bool), "compile", self.compile, "True, False or None")
        require_flag(self, "deterministic", "recompute")

    @property
    def global_batch(self) -> int:
        """Blocks per optimizer step."""
        return self.batch_size * self.gradient_accumulation_steps

    @property
    def warmup(self) -> int:
        """Steps of warm-up, with the default filled in."""
        return min(2000, self.max_iterations // 50) if self.warmup_iterations is None else self.warmup_iterations


@dataclass(frozen=True)
class GenerationConfig:
    """How text is sampled."""

    maximum_length: int = 200
    """The most tokens to add."""
    temperature: float = 1.0
    """Divides the logits: below 1 is more cautious, above 1 more daring, 0 always takes the likeliest token."""
    top_k: int | None = None
    """Draw only from the k likeliest tokens."""
    top_p: float | None = None
    """Draw only from the fewest likeliest tokens whose probabilities add up to this (nucleus sampling)."""
    stop_tokens: tuple[int, ...] | None = None
    """Ids that end the text; by default the document separator; () for none."""
    seed: int | None = None
    """The same seed draws the same text; by default each call draws a new one."""

    def __post_init__(self) -> None:
        require_whole(self, 0, 10**9, "maximum_length")
        require_number(self, 0, LARGEST, "temperature")
        usable = self.temperature == 0 or self.temperature >= 1e-6  # smaller ones overflow float32
        require(usable, "temperature", self.temperature, "0, or 1e-6 or more")
        if self.top_k is not None:
            require_whole(self, 1, 10**9, "top_k")
        if self.top_p is not None:
            require_positive(self, "top_p", most=1)
        if self.stop_tokens is not None:
            if isinstance(self.stop_tokens, Iterable):
                object.__setattr__(self, "stop_tokens", tuple(self.stop_tokens))
            several = isinstance(self.stop_tokens, tuple) and all(is_whole(i) and i >= 0 for i in self.stop_tokens)
            require(several, "stop_tokens", self.stop_tokens, "a tuple of ids")
        if self.seed is not None:
            require_seed(self, "seed")


_PARTS: dict[str, type[ModelConfig] | type[DataConfig] | type[TrainingConfig]] = {
    "model": ModelConfig,
    "dataset": DataConfig,
    "training": TrainingConfig,
}


@dataclass(frozen=True)
class RunConfig:
    """Everything that defines a run: the same `RunConfig` gives the same run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    run_folder: str = "models/tiny"
    """Where checkpoints and the history go; a folder belongs to one run."""

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            value = getattr(self, name)
            require(isinstance(value, kind), name, value, f"a {kind.__name__}")
        require(isinstance(self.run_folder, str) and self.run_folder != "", "run_folder", self.run_folder, "a path")

    def replace(self, **overrides: Any) -> "RunConfig":
        """A copy with fields of any part changed by name. Raises ValueError, with near names, for an unknown one."""
        owners = {field.name: part for part, kind in _PARTS.items() for field in dataclasses.fields(kind)}
        changes: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        top: dict[str, Any] = {}
        for name, value in overrides.items():
            if isinstance(value, os.PathLike):
                value = os.fspath(value)
            if name == "run_folder":
                top[name] = value
            elif name in owners:
                changes[owners[name]][name] = value
            else:
                raise ValueError(f"unknown setting {name!r}{near_names(name, [*owners, 'run_folder'])}")
        top |= {part: dataclasses.replace(getattr(self, part), **changes[part]) for part in _PARTS if changes[part]}
        return dataclasses.replace(self, **top)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, as written to `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "RunConfig":
        """The inverse of `to_dict`. Raises ValueError for unknown keys, missing parts and bad values."""
        try:
            if wrong := content.keys() ^ {*_PARTS, "run_folder"}:
                raise TypeError(f"unknown or missing: {', '.join(sorted(wrong))}")
            built: dict[str, Any] = {part: kind(**content[part]) for part, kind in _PARTS.items()}
            return cls(run_folder=content["run_folder"], **built)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"not a run's configuration: {error}") from None
