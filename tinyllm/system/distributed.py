"""Several processes that train one model: joined where `torchrun` started them, absent otherwise."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed

# Imported here because its functions take the process group of this moment as a default argument: torch would import
# it within the first step, it would keep gloo's threads alive after the group is left, and now and then a process
# that exits beside those threads is aborted (torch 2.13).
import torch.distributed.nn.functional

from tinyllm.system.device import pick_device


@dataclass(frozen=True)
class Processes:
    """This process among `world_size`, and the device it computes on."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that measures, writes and speaks."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in at least one process; all of them must ask."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
        return bool(flags.item())


def is_first_process() -> bool:
    """Whether this is the process that speaks: the only one, or torchrun's number 0."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join_processes(device_name: str) -> Iterator[Processes]:
    """Join the process group that torchrun's environment variables describe, and leave it at the end."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    device = pick_device(device_name)
    if world_size == 1:
        number = torch.cuda.device_count() if device.type == "cuda" else 1
        if number > 1:
            print(
                f"{number} GPUs are here and one is used; "
                f"torchrun --nproc-per-node={number} -m tinyllm train ... uses all"
            )
        yield Processes(device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(device, torch.distributed.get_rank(), world_size)
    finally:
        torch.distributed.destroy_process_group()
