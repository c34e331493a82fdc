"""What a run will need, known before it starts: parameters, arithmetic, memory and time."""

import time
from dataclasses import dataclass

import torch

from tinyllm.config import ModelConfig, RunConfig
from tinyllm.model.attention import qkv_sizes
from tinyllm.model.loss import THRESHOLD, chunk_rows
from tinyllm.system.device import pick_compile, pick_device, synchronize
from tinyllm.system.precision import autocast, pick_precision

# Dense tensor-core peaks in FLOP/s, from NVIDIA's data sheets: float16 on the T4, bfloat16 on the others.
PEAKS = {"T4": 65e12, "A100": 312e12, "H100": 989e12, "H200": 989e12}
# The share of its peak that a training step reaches: 0.31 to 0.32 (wikitext103) and 0.27 to 0.29 (wikitext103-modern),
# measured on three H200s (tests/benchmarks). For the other cards it is a guess.
UTILISATION = 0.3
MEASURED = ("H200",)
# Seconds that a step takes on a GPU even if it computes next to nothing, because Python launches its kernels: 0.0039
# (quickstart) and 0.0047 (laptop), measured on an H200; a guess for the other cards.
LAUNCHING = 0.004
# Elsewhere: the speed of a whole training step as a share of the speed of its matrix products. On two CPU cores it was
# 0.6 to 0.8 for three presets, measured once with an earlier version; on other GPUs it is a guess.
STEP_SHARE = 0.7
MEASURED_ROWS = 1 << 14  # of a timed product, at most: more would only take memory and time


@dataclass(frozen=True)
class Estimate:
    """A prediction for one run."""

    parameters: int
    """The exact count."""
    tokens: int
    """Tokens trained on, repeats included."""
    flops_per_token: float
    """Floating-point operations for one token, forward and backward."""
    memory_bytes: float
    """Weights, gradients, the optimizer's averages, and what the forward pass keeps for the backward pass.

    With `batch_size` blocks in a pass; the run takes as many as the machine has room for.
    """
    device: str
    """The GPU's name, or "cpu" or "mps"."""
    flops_per_second: float
    """Just measured on this device, in matrix products of the model's own shapes."""
    seconds: float
    """For the whole run: on a GPU of `PEAKS` at its `UTILISATION`, else at `STEP_SHARE` of `flops_per_second`.

    On any GPU a step takes at least `LAUNCHING`.
    """
    basis: str
    """What `seconds` rests on, for people to read."""
    seconds_elsewhere: dict[str, float]
    """For the whole run on each GPU of `PEAKS`: measured on those of `MEASURED`, else a guess."""


def count_parameters(config: ModelConfig) -> int:
    """The number of weights, the tied head counted once.

    For the defaults V C + T C + L (4 C^2 + 2 C F + 9 C + F) + 2 C: a block has 4 C^2 + 4 C for attention, 2 C F + F + C
    for the feed-forward layer, and 4 C for two norms.
    """
    C, F = config.embedding_dim, config.feedforward_dim
    biases = 0
    if config.bias:  # of queries, keys, values; of attention's projection; of the feed-forward layer's matrices
        biases = sum(qkv_sizes(config)) + C + (_feedforward_matrices(config) - 1) * F + C
    norm = 2 * C if config.bias and config.norm == "layernorm" else C
    qk_norm = 2 * config.head_dim if config.qk_norm else 0
    positions = config.context_length * C if config.positions == "learned" else 0
    block = _block_matrices(config) + biases + 2 * norm + qk_norm
    return config.vocab_size * C + positions + config.num_layers * (block + _corrections(config)) + norm


def _corrections(config: ModelConfig) -> int:
    """The number of weights in a block's low-rank corrections: rank times both sides of each matrix."""
    C, F = config.embedding_dim, config.feedforward_dim
    return config.lora * (3 * C + sum(qkv_sizes(config)) + _feedforward_matrices(config) * (C + F))


def _feedforward_matrices(config: ModelConfig) -> int:
    return 3 if config.activation == "swiglu" else 2


def _block_matrices(config: ModelConfig) -> int:
    """The number of weights in a block's matrix products."""
    C = config.embedding_dim
    return C * sum(qkv_sizes(config)) + C * C + _feedforward_matrices(config) * C * config.feedforward_dim


def flops_per_token(config: ModelConfig) -> float:
    """Multiplications and additions for one token: forward, and twice as much backward.

    Each weight of a matrix product costs 2; attention's two products cost 2 C for each position of the context (the
    masked half is computed too). A matrix that LoRA froze has no gradient of its own, which is a third of its work.
    Source: Kaplan et al., "Scaling Laws" (2020), section 2.1.
    """
    matrices = config.num_layers * _block_matrices(config) + config.vocab_size * config.embedding_dim
    attention = config.num_layers * 2 * config.embedding_dim * config.context_length
    corrections = config.num_layers * _corrections(config)
    return 2 * ((2 if config.lora else 3) * matrices + 3 * (attention + corrections))


def optimizer_flops(config: RunConfig) -> float:
    """Multiplications and additions of one optimizer step: for each of Muon's matrices, five times three products.

    With smaller side m and larger side n they cost 2 m^2 n, 2 m^3 and 2 m^2 n. AdamW multiplies no matrices: 0.
    """
    if config.training.optimizer == "adamw":
        return 0.0
    model, C = config.model, config.model.embedding_dim
    feedforward = [(C, model.feedforward_dim)] * _feedforward_matrices(model)
    shapes = [*((C, width) for width in qkv_sizes(model)), (C, C), *feedforward]
    sides = [(min(shape), max(shape)) for shape in shapes]
    return model.num_layers * sum(5 * (4 * m * m * n + 2 * m**3) for m, n in sides)


def memory_bytes(
    config: RunConfig, device: str = "cpu", bytes_per_activation: int = 4, micro_batch: int | None = None
) -> float:
    """Memory for a training step: 16 bytes per parameter, what forward keeps for backward, and the loss's logits.

    With LoRA a frozen parameter takes 4 bytes: it has no gradient and no averages.

    `micro_batch`: blocks in a forward pass; `batch_size` of them unless given.

    Of the 16 bytes, AdamW's two averages take 8; Muon keeps only one average, for the matrices in the blocks. A block
    keeps about 14 C + 2 F values per token; RMSNorms add 2 C, rotary positions 3 C, QK-norm 5 C, SwiGLU's gate 2 F. On
    a CPU with dropout, attention also keeps one byte per head and pair of tokens (the causal half of them); on a GPU it
    keeps none. Checked against measured peaks on a CPU (on an H200, compiled, they were 0.94 of it for `wikitext103`,
    and 0.76 for the modern preset); the additions, against what autograd keeps on a CPU.
    """
    blocks = config.training.batch_size if micro_batch is None else micro_batch
    model, rows = config.model, blocks * config.model.context_length
    pairs = (
        model.num_heads * model.context_length / 8 if model.dropout and device == "cpu" else 0
    )  # in units of 4 bytes
    widths = 14 + 2 * (model.norm == "rmsnorm") + 3 * (model.positions == "rotary") + 5 * model.qk_norm
    inner = 4 if model.activation == "swiglu" else 2
    per_layer = widths * model.embedding_dim + inner * model.feedforward_dim + pairs
    per_token = model.num_layers * per_layer
    if config.training.recompute:  # each layer's input, and all of the layer that is being computed again
        per_token = model.num_layers * model.embedding_dim + per_layer
    trained = model.num_layers * _corrections(model) if model.lora else count_parameters(model)
    averages = 8 * trained
    if config.training.optimizer == "muon":
        averages -= 4 * model.num_layers * _block_matrices(model)
    loss = _loss_bytes(config, rows, device, bytes_per_activation)
    return 4 * (count_parameters(model) + trained) + averages + rows * per_token * bytes_per_activation + loss


def _loss_bytes(config: RunConfig, rows: int, device: str, bytes_per_activation: int) -> float:
    """What the loss of so many rows keeps at once: a chunk's logits, and the gradient of the head's float32 weights.

    With LoRA the head is frozen and has no gradient.
    Float32 logits are there three times, with a soft cap four times. Compiled on CUDA, a chunk keeps only its logits
    and their gradient, in the format of the activations: two copies (see `tinyllm.model.loss`).
    """
    model = config.model
    chunked = rows * model.vocab_size >= THRESHOLD
    logits = model.vocab_size * (min(rows, chunk_rows(model.vocab_size, device)) if chunked else rows)
    copies = 4 * (3 if model.logit_softcap is None else 4)
    if chunked and device == "cuda" and pick_compile(torch.device(device), config.training.compile):
        copies = 2 * bytes_per_activation
    gradient = 0 if model.lora else 4 * model.vocab_size * model.embedding_dim
    return copies * logits + gradient


def estimate(config: RunConfig) -> Estimate:
    """Predict a run on this machine. Takes about a second, to time matrix products of the model's own shapes."""
    training = config.training
    device = pick_device(training.device)
    precision = pick_precision(device, training.precision)
    step_tokens = training.global_batch * config.model.context_length
    speed = measure_flops(config.model, training.batch_size, device, precision)
    per_token = flops_per_token(config.model)
    step_flops = step_tokens * per_token + optimizer_flops(config)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    step_seconds, basis = _step_seconds(name, step_flops, speed)
    return Estimate(
        parameters=count_parameters(config.model),
        tokens=training.max_iterations * step_tokens,
        flops_per_token=per_token,
        memory_bytes=memory_bytes(config, device.type, torch.finfo(precision).bits // 8),
        device=name,
        flops_per_second=speed,
        seconds=training.max_iterations * step_seconds,
        basis=basis,
        seconds_elsewhere={gpu: training.max_iterations * _step_seconds(gpu, step_flops, speed)[0] for gpu in PEAKS},
    )


def _step_seconds(device: str, flops: float, product_speed: float) -> tuple[float, str]:
    """How long a whole training step of so many operations takes on a device, and what that number rests on."""
    card = next((card for card in PEAKS if card in device), None)
    source = "measured on such a card" if card in MEASURED else "a guess"
    if card is None:
        seconds, basis = flops / (STEP_SHARE * product_speed), f"{STEP_SHARE:.0%} of that speed"
    else:
        seconds, basis = flops / (UTILISATION * PEAKS[card]), f"{UTILISATION:.0%} of the {card}'s peak, {source}"
    if seconds < LAUNCHING and device not in ("cpu", "mps"):
        return LAUNCHING, f"{1000 * LAUNCHING:g} ms a step, which it takes to launch its kernels, {source}"
    return seconds, basis


@torch.no_grad()
def measure_flops(
    config: ModelConfig, batch_size: int, device: torch.device, precision: torch.dtype, seconds: float = 0.5
) -> float:
    """Time the feed-forward layer's two products for one batch, for `seconds`; returns FLOP/s.

    Of a large batch, for `MEASURED_ROWS` tokens.
    """
    rows = min(batch_size * config.context_length, MEASURED_ROWS)
    x = torch.randn(rows, config.embedding_dim, device=device)
    up = torch.randn(config.embedding_dim, config.feedforward_dim, device=device)
    down = torch.randn(config.feedforward_dim, config.embedding_dim, device=device)
    with autocast(device, precision):
        (x @ up) @ down  # the first call pays for start-up
        synchronize(device)
        repeats, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            (x @ up) @ down
            synchronize(device)
            repeats += 1
        elapsed = time.perf_counter() - began
    return repeats * 4 * rows * config.embedding_dim * config.feedforward_dim / elapsed
