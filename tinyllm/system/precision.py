"""The number format of matrix products: float32, bfloat16 or float16."""

import contextlib
import os
from collections.abc import Iterator

import torch

from tinyllm.system.validation import require

_FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_precision(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """The number format of matrix products. "auto": bfloat16 where CUDA supports it natively, float16 on older GPUs.

    On other devices "auto" is float32. Emulated bfloat16 (all a T4 has) is slower than float32, so it does not count.
    """
    if wanted != "auto":
        require(wanted in _FORMATS, "precision", wanted, "'auto' or one of " + ", ".join(map(repr, _FORMATS)))
        return _FORMATS[wanted]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """Run matrix products in `dtype`, and operations that need the range (softmax, loss, norms) in float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


@contextlib.contextmanager
def matrix_products(device: torch.device, deterministic: bool = False) -> Iterator[None]:
    """How CUDA multiplies in training and sampling: float32 products on tensor cores (TF32, 10 bits of mantissa).

    With `deterministic`, only algorithms that give the same bits each time. `evaluate` is exact (`exact_products`). A
    CPU always computes in full float32, and the same bits each time.
    """
    if device.type != "cuda":
        yield
        return
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may sum in another order
        torch.use_deterministic_algorithms(True)
    try:
        with _float32_products("high"):
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)


def exact_products() -> contextlib.AbstractContextManager[None]:
    """Full float32 in products of float32, also inside `matrix_products`."""
    return _float32_products("highest")


@contextlib.contextmanager
def _float32_products(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
