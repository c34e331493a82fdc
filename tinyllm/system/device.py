"""Which device computes, and whether the model is compiled for it."""

import importlib.util
import math
import re
import shutil
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")  # Linux's


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


def free_memory(device: torch.device) -> float:
    """Bytes that are free on the device; infinity where the system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    meminfo = MEMINFO.read_text() if MEMINFO.exists() else ""
    available = re.search(r"MemAvailable: +(\d+) kB", meminfo)  # what only caches files counts as free
    return int(available[1]) * 1024.0 if available else math.inf


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all queued work, so that a clock measures the work and not the queueing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
