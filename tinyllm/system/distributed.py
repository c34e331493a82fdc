"""The processes that train one model together: several if `torchrun` started them, otherwise one."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed

# Imported before any process group exists, because its functions take the current group as a default argument.
# Otherwise torch imports it during the first step, gloo's threads outlive the group, and now and then they abort the
# process at exit (torch 2.13).
import torch.distributed.nn.functional

from tinyllm.system.device import pick_device

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Processes:
    """This process, one of `world_size`, and the device it computes on."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that measures, writes files and prints."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in at least one process; every process must make this call."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
        return bool(flags.item())

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What the first process makes, in every process; each must make this call.

        Where that raises, all of them raise: none waits for one that has gone.
        """
        if self.world_size == 1:
            return make()
        made, failure = None, None
        if self.first:
            try:
                made = make()
            except Exception as error:
                failure = error
        message = [made, failure and f"the first process failed: {failure}"]
        torch.distributed.broadcast_object_list(message)
        if failure is not None:
            raise failure
        if message[1]:
            raise RuntimeError(message[1])
        return message[0]


def is_first_process() -> bool:
    """Whether this is the process that prints: the only one, or torchrun's rank 0."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join_processes(device_name: str) -> Iterator[Processes]:
    """Join the process group that torchrun's environment variables describe, and leave it at the end."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    device = pick_device(device_name)
    if world_size == 1:
        gpu_count = torch.cuda.device_count() if device.type == "cuda" else 1
        if gpu_count > 1:
            _log.warning(
                f"this machine has {gpu_count} GPUs and one is used; "
                f"torchrun --nproc-per-node={gpu_count} -m tinyllm train ... uses all of them"
            )
        yield Processes(device)
        return
    if device.type == "cuda":
        if "LOCAL_RANK" not in os.environ:
            raise ValueError("WORLD_SIZE is set but LOCAL_RANK is not: start several processes with torchrun")
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(device, torch.distributed.get_rank(), world_size)
    finally:
        torch.distributed.destroy_process_group()
