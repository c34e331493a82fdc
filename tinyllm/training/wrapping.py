"""The model as a training step calls it: compiled, and exchanging gradients with other processes."""

import threading

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tinyllm.config import RunConfig
from tinyllm.estimation import flops_per_token
from tinyllm.model.gpt import GPT
from tinyllm.system.device import pick_compile
from tinyllm.system.distributed import Processes
from tinyllm.training.micro_batches import Cut

LAUNCH_BOUND = 5e11  # FLOPs of a forward and backward pass; below it, CUDA graphs made an H200 1.7 to 2.8 times as fast


def wrap(model: GPT, config: RunConfig, processes: Processes, cut: Cut) -> nn.Module:
    """The same weights, compiled where the configuration or the device asks for it, and shared by all processes.

    Where a step is so small that launching its kernels takes longer than running them, CUDA graphs launch all at once.
    """
    model.recompute = config.training.recompute
    wrapped: nn.Module = model
    if pick_compile(processes.device, config.training.compile):
        whole = cut.blocks * processes.world_size == config.training.global_batch
        small = flops_per_token(config.model) * cut.blocks * config.model.context_length < LAUNCH_BOUND
        main = threading.current_thread() is threading.main_thread()  # CUDA graphs of torch.compile know only this one
        mode = "reduce-overhead" if whole and small and main and processes.device.type == "cuda" else None
        wrapped = torch.compile(model, mode=mode, dynamic=False)  # type: ignore[assignment]  # of a module: a module
    if processes.world_size > 1:
        wrapped = DistributedDataParallel(wrapped)
    return wrapped
