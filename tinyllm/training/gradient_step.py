"""One optimizer step: the mean gradient of several micro-batches, clipped, then applied by the optimizer."""

import contextlib
import math
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tinyllm.system.precision import autocast

Batch = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]
"""Token ids, and their targets: the ids one position later."""


def train_step(
    model: nn.Module,
    batches: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    max_gradient_norm: float,
    precision: torch.dtype = torch.float32,
) -> tuple[float, float]:
    """One optimizer step on the mean gradient of equally large micro-batches.

    Returns the mean loss (over all processes) and the gradient's norm before clipping. Raises FloatingPointError,
    before any weight has changed, if one of them is not finite; with float16 the scaler skips such a step instead.
    """
    loss = _accumulate_gradients(model, batches, scaler, precision).item()
    if not math.isfinite(loss):
        raise FloatingPointError(loss)
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_gradient_norm).item()
    if not math.isfinite(norm) and not scaler.is_enabled():
        raise FloatingPointError(f"{loss}, but its gradient is {norm}")
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return loss, norm


def _accumulate_gradients(
    model: nn.Module, batches: Sequence[Batch], scaler: torch.amp.GradScaler, precision: torch.dtype
) -> Tensor:
    """Add the mean loss's gradient, times the scaler's scale, to the weights. Returns that loss, over all processes."""
    total = torch.zeros((), device=batches[0][0].device)
    for index, (ids, targets) in enumerate(batches):
        with _exchange(model, last=index == len(batches) - 1):
            with autocast(ids.device, precision):
                loss = model(ids, targets) / len(batches)
            scaler.scale(loss).backward()
        total += loss.detach()
    if isinstance(model, DistributedDataParallel):
        torch.distributed.all_reduce(total, torch.distributed.ReduceOp.SUM)
        total /= torch.distributed.get_world_size()
    return total


def _exchange(model: nn.Module, last: bool) -> contextlib.AbstractContextManager[None]:
    """Processes exchange gradients once a step, during the last micro-batch's backward pass."""
    if isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    return contextlib.nullcontext()
