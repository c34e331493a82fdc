"""The blocks of one optimizer step, cut into the forward passes of each process.

The global batch defines a run: the same blocks make up a step however they are cut, on any number of processes. The cut
is the machine's business: larger forward passes keep a GPU busier, smaller ones need less memory.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from tinyllm.config import RunConfig
from tinyllm.estimation import memory_bytes
from tinyllm.system.device import total_memory
from tinyllm.system.distributed import Processes
from tinyllm.text.batches import Blocks
from tinyllm.training.gradient_step import Batch

USABLE = {"cuda": 0.8, "cpu": 0.25}  # of the memory there is; on a CPU other programs want most of it


def blocks_per_process(config: RunConfig, processes: Processes) -> int:
    """Each process's share of a step. Raises ValueError if the blocks cannot be shared equally."""
    blocks = config.training.global_batch
    if blocks % processes.world_size:
        raise ValueError(
            f"batch_size times gradient_accumulation_steps ({blocks} blocks a step) must be a multiple of the "
            f"{processes.world_size} processes that share them"
        )
    return blocks // processes.world_size


class Cut(NamedTuple):
    """How many blocks one forward pass takes, and on which machine that was found out."""

    machine: str
    blocks: int


def largest_cut(config: RunConfig, processes: Processes, precision: torch.dtype) -> Cut:
    """The largest forward pass that divides a process's share of a step and that memory should have room for.

    It depends on the machine alone, so the same run is cut alike each time. Where the system does not say how much
    memory there is, `batch_size` blocks are taken.
    """
    share, device = blocks_per_process(config, processes), processes.device
    memory = total_memory(device) / (1 if device.type == "cuda" else processes.world_size)
    usable = USABLE.get(device.type, 0.25) * memory
    width = torch.finfo(precision).bits // 8

    def too_large(size: int) -> bool:
        unknown = math.isinf(memory) and size > config.training.batch_size
        needed = memory_bytes(config, device.type, width, size)
        return processes.any(unknown or needed >= usable)  # in any of them

    blocks = next(itertools.dropwhile(too_large, divisors(share)), 1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Cut(f"{name}, {memory / 1e9:.0f} GB, {processes.world_size} processes", blocks)


def smaller_cut(cut: Cut, config: RunConfig, processes: Processes, together: bool = False) -> Cut:
    """The next smaller one, after memory ran out. Raises RuntimeError if there is none.

    Several processes can only change it `together`, not in a step in which some of them may have had enough memory.
    """
    smaller = [size for size in divisors(blocks_per_process(config, processes)) if size < cut.blocks]
    if not smaller or not (together or processes.world_size == 1):
        raise RuntimeError(
            f"out of GPU memory with {cut.blocks} blocks in a forward pass: use recompute=True, or a smaller "
            "context_length or model"
        ) from None
    return cut._replace(blocks=smaller[0])


@contextlib.contextmanager
def advice_without_memory() -> Iterator[None]:
    """Beside the forward passes, in the optimizer or in scoring, no smaller cut helps: RuntimeError says what may."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise RuntimeError(
            "out of GPU memory outside of the training passes: use a smaller model or context_length"
        ) from None


def divisors(number: int) -> list[int]:
    """All whole numbers that divide this one, the largest first."""
    small = [size for size in range(1, math.isqrt(number) + 1) if number % size == 0]
    return sorted({*small, *(number // size for size in small)}, reverse=True)


def micro_batches(blocks: Blocks, config: RunConfig, iteration: int, processes: Processes, size: int) -> list[Batch]:
    """This process's share of the ids and targets of one step, `size` blocks at a time."""
    share = blocks_per_process(config, processes)
    first = iteration * config.training.global_batch + processes.rank * share
    batches = []
    for start in range(first, first + share, size):
        ids, targets = blocks.batch(start, size)
        batches.append((_to_device(ids, processes.device), _to_device(targets, processes.device)))
    return batches


def _to_device(array: Int[np.ndarray, "B T"], device: torch.device) -> Int[Tensor, "B T"]:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # only from pinned memory does a copy not make Python wait
    return tensor.to(device, non_blocking=True)
