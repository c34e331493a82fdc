"""How a model learns."""

from dataclasses import dataclass
from typing import Literal, get_args

from tinyllm.system.validation import (
    LARGEST,
    is_whole,
    plain,
    require,
    require_choice,
    require_flag,
    require_number,
    require_positive,
    require_seed,
    require_whole,
)

Optimizer = Literal["adamw", "muon"]
Schedule = Literal["cosine", "warmup_stable_decay"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class TrainingConfig:
    """How the model learns. The defaults are those of the full WikiText-103 run."""

    max_iterations: int = 100_000
    """Number of optimizer steps. With more of them, a run goes on: the steps to come follow the longer schedule."""
    batch_size: int = 8
    """Blocks per optimizer step, together with gradient_accumulation_steps: only their product matters."""
    gradient_accumulation_steps: int = 4
    """Times batch_size: the blocks of one optimizer step. The device decides how they are cut into forward passes.

    With dropout, another cut draws it anew: the loss then differs a little.
    """
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
    """Steps between checkpoints. One is also written at each new best held-out loss, and every 15 minutes."""
    patience: int | None = None
    """Measurements in a row without a new best held-out loss that end the run early; by default none do."""
    csv: bool = False
    """Whether to write the history as a table too: `history.csv` in the run folder."""
    tensorboard: bool = False
    """Whether to write the history for TensorBoard too: `tensorboard/` in the run folder."""
    precision: Precision = "auto"
    """Number format of matrix products; "auto": bfloat16 on GPUs that have it, float16 on older ones, else float32.

    On CUDA, training and sampling compute float32 products in TF32 (10 bits of mantissa); `evaluate` is exact.
    """
    device: str = "auto"
    """"cuda", "mps", "cpu", or "auto": the first of these that is available."""
    compile: bool | None = None
    """Whether to use torch.compile; by default on CUDA where a compiler is found. With ample memory, CUDA graphs."""
    deterministic: bool = False
    """Whether a GPU computes the same bits each time, which is slower; the same CPU always does.

    Use a fresh process: torch reads cuBLAS's setting, which this needs, once, before its first product on the GPU.
    """
    recompute: bool = False
    """Whether each layer is computed again in the backward pass instead of kept: less memory, more time."""
    seed: int = 0
    """Fixes the initial weights, the order of the blocks and the dropout."""
    init_from: str | None = None
    """Begin with these weights, their shape and tokenizer: a run, a checkpoint, a .safetensors file, a folder of
    Hugging Face's, or a model's name on the Hub. Their dropout may be changed, and context_length shortened."""

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
        named = self.init_from is None or (isinstance(self.init_from, str) and self.init_from.strip() != "")
        require(named, "init_from", self.init_from, "a path or a model's name on the Hub")
        if self.warmup_iterations is not None:
            require_whole(self, 0, 10**9, "warmup_iterations")
            fits = self.warmup_iterations < self.max_iterations
            require(fits, "warmup_iterations", self.warmup_iterations, f"below max_iterations ({self.max_iterations})")
        if isinstance(self.betas, tuple | list):
            object.__setattr__(self, "betas", tuple(map(plain, self.betas)))
        pair = isinstance(self.betas, tuple) and len(self.betas) == 2
        rates = pair and all((is_whole(beta) or isinstance(beta, float)) and 0 <= beta < 1 for beta in self.betas)
        require(rates, "betas", self.betas, "two numbers from 0 up to below 1")
        require_choice(self, "precision", get_args(Precision))
        require(isinstance(self.device, str), "device", self.device, "a string such as 'cuda' or 'cpu'")
        require(self.compile is None or isinstance(self.compile, bool), "compile", self.compile, "True, False or None")
        require_flag(self, "deterministic", "recompute", "csv", "tensorboard")
        if self.patience is not None:
            require_whole(self, 1, 10**9, "patience")

    @property
    def global_batch(self) -> int:
        """Blocks per optimizer step."""
        return self.batch_size * self.gradient_accumulation_steps

    @property
    def warmup(self) -> int:
        """Steps of warm-up, with the default filled in."""
        return min(2000, self.max_iterations // 50) if self.warmup_iterations is None else self.warmup_iterations
