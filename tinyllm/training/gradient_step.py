"""One optimizer step: the mean gradient of several micro-batches, clipped, then applied by the optimizer."""

import contextlib
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tinyllm.config import IGNORED
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
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """One optimizer step on the gradient of the mean loss over all targets that count, in all micro-batches.

    Returns the mean loss (over all processes) and the gradient's norm before clipping, without waiting for a GPU to
    compute them. Raises FloatingPointError as `apply_gradients` does.
    """
    loss = accumulate_gradients(model, batches, scaler, precision)
    return loss, apply_gradients(model, loss, optimizer, scaler, max_gradient_norm)


def accumulate_gradients(
    model: nn.Module,
    batches: Sequence[Batch],
    scaler: torch.amp.GradScaler,
    precision: torch.dtype,
    exchange: bool = True,
) -> Float[Tensor, ""]:
    """Add the mean loss's gradient, times the scaler's scale, to the weights. Returns that loss, over all processes.

    A micro-batch weighs as much as it has targets that count, so that however a batch is cut, the mean is the same.
    Where none counts, the loss and its gradient are 0. Without `exchange` no process waits for another, and both are
    those of this process's targets.
    """
    together = exchange and isinstance(model, DistributedDataParallel)
    total = torch.zeros((), device=batches[0][0].device)
    counts = [(targets != IGNORED).sum() for _, targets in batches]
    count, processes = torch.stack(counts).sum(), 1
    if together:  # which means the gradients over the processes
        torch.distributed.all_reduce(count, torch.distributed.ReduceOp.SUM)
        processes = torch.distributed.get_world_size()
    count = count.clamp(min=1) / processes
    for index, (ids, targets) in enumerate(batches):
        with _exchange(model, exchange and index == len(batches) - 1):
            with autocast(ids.device, precision):
                loss = model(ids, targets) / (count / counts[index])
            scaler.scale(loss).backward()
        total += loss.detach()
    if together:
        torch.distributed.all_reduce(total, torch.distributed.ReduceOp.SUM)
        total /= processes
    return total


def apply_gradients(
    model: nn.Module,
    loss: Float[Tensor, ""],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    max_gradient_norm: float,
) -> Float[Tensor, ""]:
    """Clip the gradients, let the optimizer use them, and reset them. Returns their norm before clipping.

    On a CPU a loss or a norm that is not finite raises FloatingPointError before any weight has changed. On a GPU
    nobody waits for either: whoever reads them later must look. With float16 the scaler skips such a step instead.
    """
    scaler.unscale_(optimizer)
    norm: Tensor = nn.utils.clip_grad_norm_(model.parameters(), max_gradient_norm)
    if loss.device.type == "cpu":
        require_finite(loss.item(), norm.item(), scaler.is_enabled())
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return norm


def require_finite(loss: float, norm: float, scaled: bool) -> None:
    """Raise FloatingPointError for a loss or a norm that is not finite; a scaler takes care of the norm."""
    if not math.isfinite(loss):
        raise FloatingPointError(loss)
    if not math.isfinite(norm) and not scaled:
        raise FloatingPointError(f"{loss}, but its gradient is {norm}")


def _exchange(model: nn.Module, now: bool) -> contextlib.AbstractContextManager[None]:
    """Processes exchange gradients once a step, during the last micro-batch's backward pass."""
    if isinstance(model, DistributedDataParallel) and not now:
        return model.no_sync()
    return contextlib.nullcontext()
