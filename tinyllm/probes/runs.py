"""A run of this package, taken apart for the probes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.config import RunConfig
from tinyllm.evaluation import FloorEvaluation
from tinyllm.model.gpt import GPT
from tinyllm.model.kv_cache import KVCache
from tinyllm.model.weights import adapt_model
from tinyllm.probes.report import Batch
from tinyllm.probes.subject import Subject
from tinyllm.text.batches import Blocks
from tinyllm.text.prepared import PreparedData
from tinyllm.training.early_stopping import measurements
from tinyllm.training.gradient_step import train_step
from tinyllm.training.optimizers import make_optimizer

_PROBE_TOKENS = 128  # of each block
_UNSCALED = torch.amp.GradScaler("cpu", enabled=False)


def subject_of_run(
    config: RunConfig,
    model: GPT,
    data: PreparedData,
    history: Sequence[dict[str, Any]],
    floor: FloorEvaluation | None,
) -> Subject:
    """Everything that the probes examine. The run's own model is copied to the CPU."""
    model = adapt_model(model).train(model.training)  # in a copy all matrices learn, also what LoRA keeps frozen
    training, splits = config.training, data.splits
    length = min(model.config.context_length, _PROBE_TOKENS)
    blocks = Blocks(splits["train"], length, training.seed, config.dataset.block_begin)
    pieces = min(2, training.gradient_accumulation_steps)

    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            fresh = GPT(model.config)
        return fresh, make_optimizer(fresh, training)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> float:
        return train_step(model, batches, optimizer, _UNSCALED, training.max_gradient_norm)[0].item()

    def batch(index: int) -> list[Batch]:
        arrays = (blocks.batch(first, 2) for first in range(2 * pieces * index, 2 * pieces * (index + 1), 2))
        return [(_tensor(ids), _tensor(targets)) for ids, targets in arrays]

    losses = [point["training_loss"] for point in history if "training_loss" in point]
    return Subject(
        model=model,
        build=build,
        step=step,
        batch=batch,
        stepwise=_stepwise,
        first_loss=losses[0] if losses and training.init_from is None else None,  # theirs was not a fresh model's
        texts=(splits["train"].tokens, splits[data.watching].tokens),
        characters_per_token=splits["train"].size / len(splits["train"].tokens),
        losses=(losses, [(point["iteration"], point["validation_loss"]) for point in measurements(history)]),
        floor=None if floor is None else (floor.nats_per_token, floor.floor, floor.standard_error),
    )


def _tensor(array: Int[np.ndarray, "B T"]) -> Int[Tensor, "B T"]:
    return torch.from_numpy(np.ascontiguousarray(array))


def _stepwise(model: nn.Module, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
    """The logits as sampling computes them: for half of the ids in one pass, then token by token."""
    assert isinstance(model, GPT)
    cache = KVCache(model.config, len(ids), ids.device, model.token_embedding.weight.dtype)
    half = ids.shape[1] // 2
    pieces = [ids[:, :half], *torch.split(ids[:, half:], 1, dim=1)]
    return torch.cat([model(piece, cache=cache) for piece in pieces if piece.shape[1]], dim=1)
