"""The model as a training step calls it: compiled, and exchanging gradients with other processes."""

import threading

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tinyllm.config import RunConfig
from tinyllm.estimation import memory_bytes
from tinyllm.model.gpt import GPT
from tinyllm.system.device import pick_compile, total_memory
from tinyllm.system.distributed import Processes
from tinyllm.training.micro_batches import Cut

ROOM = 1 / 3  # of a GPU's memory: a step that needs more might not leave enough for a recording of itself


def wrap(model: GPT, config: RunConfig, processes: Processes, cut: Cut) -> nn.Module:
    """The same weights, compiled where the configuration or the device asks for it, and shared by all processes."""
    model.recompute = config.training.recompute
    wrapped: nn.Module = model
    if pick_compile(processes.device, config.training.compile):
        mode = "reduce-overhead" if _recorded(config, processes, cut) else None
        wrapped = torch.compile(model, mode=mode, dynamic=False)  # type: ignore[assignment]  # of a module: a module
    if processes.world_size > 1:
        wrapped = DistributedDataParallel(wrapped)
    return wrapped


def _recorded(config: RunConfig, processes: Processes, cut: Cut) -> bool:
    """Whether CUDA graphs launch all kernels of a pass at once, so that Python and a slow processor hold up no GPU.

    Only where one process computes a step in one pass: a second pass would overwrite the first one's gradients. Not
    with `deterministic` or `recompute`, which were measured without. Memory is counted as if all were float32.
    """
    whole = processes.world_size == 1 and cut.blocks == config.training.global_batch
    if processes.device.type != "cuda" or not whole or config.training.deterministic or config.training.recompute:
        return False
    main = threading.current_thread() is threading.main_thread()  # CUDA graphs of torch.compile know only this one
    return main and memory_bytes(config, "cuda", 4, cut.blocks) < ROOM * total_memory(processes.device)
