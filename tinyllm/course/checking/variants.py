"""The same cases once more, in another form: tensors that are not contiguous, and float64."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tinyllm.course.checking.registry import Case

Variant = Callable[[Case], Case | None]  # None where it would be the same case again


def not_contiguous(case: Case) -> Case | None:
    """Each tensor with the same values in another order in memory, as after a transpose."""
    return _changed(case, _reordered)


def in_float64(case: Case) -> Case | None:
    """Each float32 tensor, and each module, in float64. New tensors should be too: see `default_float64`."""
    return _changed(case, lambda tensor: tensor.double() if tensor.dtype == torch.float32 else tensor)


@contextmanager
def default_float64() -> Iterator[None]:
    """Where torch makes float64 of itself, so that only an answer that asks for float32 gets it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _reordered(tensor: Tensor) -> Tensor:
    if tensor.dim() < 2:
        return torch.stack([tensor, tensor], dim=-1)[..., 0] if tensor.dim() else tensor
    backwards = tuple(range(tensor.dim()))[::-1]
    return tensor.permute(backwards).contiguous().permute(backwards)


def _changed(case: Case, change: Callable[[Tensor], Tensor]) -> Case | None:
    found = []

    def apply(value: Any) -> Any:
        if isinstance(value, Tensor):
            found.append(value)
            return change(value)
        if isinstance(value, nn.Module):
            return copy.deepcopy(value).double() if change(torch.ones(2)).dtype == torch.float64 else value
        return type(value)(map(apply, value)) if type(value) in (list, tuple) else value

    changed = tuple(map(apply, case))
    return changed if found else None
