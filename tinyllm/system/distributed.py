"""The processes that train one model together: several if `torchrun` started them, otherwise one."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed

# Imported before any process group exists, because its functions take the current group as a default argument.
# Otherwise torch imports it during the first step, gloo's threads outlive the group, and now and then they abort the
# process at exit (torch 2.13).
import torch.distributed.nn.functional

from tinyllm.system.device import Arriving, pick_device

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
        return bool(self.gather([flag]).tolist()[0])

    def gather(self, flags: Sequence[bool]) -> Arriving:
        """1 for each flag that is set in at least one process, on their way; every process must make this call."""
        there = self.device.type == "cuda"  # only from pinned memory does a copy not make Python wait
        numbers = torch.tensor(flags, dtype=torch.float32, pin_memory=there).to(self.device, non_blocking=True)
        torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.MAX)
        return Arriving(numbers)

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


class Votes:
    """Flags that count as set if any process sets them. Alone, a process knows at once.

    Among several, a vote's result is that of the vote before, which has arrived: so nobody waits for a GPU.
    """

    def __init__(self, processes: Processes):
        self._processes = processes
        self._last: Arriving | None = None

    def cast(self, *flags: bool) -> list[bool]:
        """Vote, always on the same questions; every process must make this call."""
        if self._processes.world_size == 1:
            return list(flags)
        last, self._last = self._last, self._processes.gather(flags)
        return [False] * len(flags) if last is None else [number > 0 for number in last.tolist()]

    def forget(self) -> None:
        """What was voted for has been done; every process must make this call."""
        self._last = None


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
