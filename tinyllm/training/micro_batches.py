"""The blocks of one optimizer step, cut into the forward passes of each process."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from tinyllm.config import RunConfig
from tinyllm.system.distributed import Processes
from tinyllm.text.batches import Blocks


def micro_batches(
    blocks: Blocks, config: RunConfig, iteration: int, processes: Processes
) -> list[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """This process's share of the ids and targets of one step; all shares together are the same for any number."""
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


def _to_device(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)
