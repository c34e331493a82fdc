"""Which device computes, whether the model is compiled for it, and how its numbers reach Python."""

import importlib.util
import math
import os
import shutil
from pathlib import Path

import torch
from torch import Tensor

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # "max" where there is none


def pick_device(name: str = "auto") -> torch.device:
    """Turn a name into a device; "auto" is CUDA, else MPS, else the CPU.

    Raises ValueError if the device is unknown or not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, here in available.items() if here)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}: use 'auto', 'cuda', 'mps' or 'cpu'") from None
    if not available.get(device.type, False):
        here = " or ".join(repr(device) for device, here in available.items() if here)
        raise ValueError(f"device {name!r} is not available here; {here} is")
    return device


def pick_compile(device: torch.device, wanted: bool | None = None) -> bool:
    """Whether to use torch.compile: by default on CUDA, if Triton and a C compiler are installed."""
    if wanted is not None:
        return wanted
    has_compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang", "cl"))
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None and has_compiler


def total_memory(device: torch.device) -> float:
    """Bytes of memory that the device has, a container's limit considered; infinity where the system does not say.

    Not what is free at the moment: so what is decided by it is decided alike each time.
    """
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return math.inf
    machine = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limit = CONTAINER_LIMIT.read_text().strip() if CONTAINER_LIMIT.exists() else ""
    return min(machine, float(limit)) if limit.isdigit() else machine


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all queued work, so that a clock measures the work and not the queueing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Arriving:
    """Numbers on their way from a device: Python waits for them only when it asks.

    Asked at once, it would wait until a GPU has done all it was given, and then the GPU for Python.
    """

    def __init__(self, values: Tensor):
        self.values, self.ready = values, None
        if values.is_cuda:
            self.values = torch.empty(values.shape, pin_memory=True).copy_(values, non_blocking=True)
            self.ready = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self.ready.record(torch.cuda.current_stream(values.device))

    def tolist(self) -> list[float]:
        """The numbers, once they have arrived."""
        if self.ready is not None:
            self.ready.synchronize()
        numbers: list[float] = self.values.tolist()
        return numbers
