"""The blocks of one optimizer step, cut into the forward passes of each process."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from tinyllm.config import RunConfig
from tinyllm.system.distributed import Processes
from tinyllm.text.batches import Blocks
from tinyllm.training.gradient_step import Batch


def micro_batches(blocks: Blocks, config: RunConfig, iteration: int, processes: Processes) -> list[Batch]:
    """This process's share of the ids and targets of one step.

    The shares of all processes together are the same blocks for any number of processes. Raises ValueError if the
    micro-batches cannot be shared equally.
    """
    size, count = config.training.batch_size, config.training.gradient_accumulation_steps
    if count % processes.world_size:
        raise ValueError(
            f"gradient_accumulation_steps ({count}) must be a multiple of the "
            f"{processes.world_size} processes that share them"
        )
    first = iteration * size * count
    batches = []
    for index in range(processes.rank, count, processes.world_size):
        ids, targets = blocks.batch(first + index * size, size)
        batches.append((_to_device(ids, processes.device), _to_device(targets, processes.device)))
    return batches


def _to_device(array: Int[np.ndarray, "B T"], device: torch.device) -> Int[Tensor, "B T"]:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)
