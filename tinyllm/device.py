"""Where to compute and in which number format: decided once, the same way everywhere."""

import contextlib
import importlib.util
import shutil

import torch


def pick_device(name: str = "auto") -> torch.device:
    """Turn a name into a device; "auto" is CUDA, else MPS, else the CPU. Raises ValueError if it is not here."""
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


def pick_precision(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """The number format of matrix products. "auto": bfloat16 where CUDA has it natively, float16 on older GPUs.

    On other devices "auto" is float32. Emulated bfloat16 (a T4 has no other) is slower than float32: it does not count.
    """
    if wanted != "auto":
        return getattr(torch, wanted)
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Run matrix products in `dtype`, and what needs the range (softmax, loss, norms) in float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def pick_compile(device: torch.device, wanted: bool | None = None) -> bool:
    """Whether to use torch.compile: by default on CUDA, where Triton and a C compiler are installed."""
    if wanted is not None:
        return wanted
    has_compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang", "cl"))
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None and has_compiler


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was asked to, so that a clock reads the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
