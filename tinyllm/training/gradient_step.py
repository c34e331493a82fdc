"""One optimizer step: the mean gradient of some micro-batches, clipped, and handed to the optimizer."""

import contextlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tinyllm.system.precision import autocast


def train_step(
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    max_gradient_norm: float,
    precision: torch.dtype = torch.float32,
) -> tuple[float, float]:
    """One optimizer step on the mean gradient of several micro-batches of (ids, targets), each (B, T).

    Returns the mean loss (over all processes) and the gradient's norm before clipping. Raises FloatingPointError,
    before any weight has changed, if one of them is not finite; with float16 the scaler skips such a step instead.
    """
    total = torch.zeros((), device=batches[0][0].device)
    for number, (ids, targets) in enumerate(batches, start=1):
        # Processes exchange gradients once a step, with the last micro-batch.
        alone = isinstance(model, DistributedDataParallel) and number < len(batches)
        with model.no_sync() if alone else contextlib.nullcontext():
            with autocast(ids.device, precision):
                loss = model(ids, targets) / len(batches)
            scaler.scale(loss).backward()
        total += loss.detach()
    if isinstance(model, DistributedDataParallel):
        torch.distributed.all_reduce(total, torch.distributed.ReduceOp.SUM)
        total /= torch.distributed.get_world_size()
    mean = total.item()
    if not math.isfinite(mean):
        raise FloatingPointError(mean)
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_gradient_norm).item()
    if not math.isfinite(norm) and not scaler.is_enabled():
        raise FloatingPointError(f"{mean}, but its gradient is {norm}")
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return mean, norm
