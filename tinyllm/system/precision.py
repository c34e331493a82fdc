"""The number format of matrix products."""

import contextlib

import torch


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
