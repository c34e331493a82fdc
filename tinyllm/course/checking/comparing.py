"""Where a result differs from the expected one."""

import math
import numbers
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tinyllm.course.checking.showing import kind_of


class Unusable(Exception):
    """What came back cannot be compared: the message says why."""


def difference(expected: Any, got: Any, where: str = "result") -> str | None:
    """Where `got` first differs from `expected`, such as "result[2]"; None if nowhere.

    Floating-point numbers may differ by rounding. Raises Unusable for another type or shape, and for NaN.
    """
    if isinstance(expected, Tensor):
        return _tensor_difference(expected, got, where)
    if isinstance(expected, dict):
        _require(isinstance(got, dict), where, got, "a dict")
        if got.keys() != expected.keys():
            return where
        return _first_difference((expected[key], got[key], f"{where}[{key!r}]") for key in expected)
    if isinstance(expected, list | tuple):
        kind = type(expected)
        _require(isinstance(got, kind), where, got, f"a {kind.__name__}")
        if len(got) != len(expected):
            return f"the length of {where}"
        pairs = enumerate(zip(expected, got, strict=True))
        return _first_difference((one, other, f"{where}[{index}]") for index, (one, other) in pairs)
    return _scalar_difference(expected, got, where)


def _first_difference(parts: Iterable[tuple[Any, Any, str]]) -> str | None:
    """All parts are compared before the first difference counts: one that is unusable matters more."""
    differences = [difference(*part) for part in parts]
    return next(filter(None, differences), None)


def _tensor_difference(expected: Tensor, got: Any, where: str) -> str | None:
    _require(isinstance(got, Tensor), where, got, f"a tensor of shape {tuple(expected.shape)}")
    if got.shape != expected.shape:
        raise Unusable(f"your {where} has shape {tuple(got.shape)}; it should have {tuple(expected.shape)}.")
    if _numbers(got.dtype) != _numbers(expected.dtype):
        raise Unusable(f"your {where} contains {_numbers(got.dtype)}; it should contain {_numbers(expected.dtype)}.")
    expected, got = expected.detach().double(), got.detach().cpu().double()
    if got.isnan().any():
        raise Unusable(f"your {where}{_first(got.isnan())} is NaN (not a number).")
    far = ~torch.isclose(got, expected, rtol=1e-4, atol=1e-5)
    return f"{where}{_first(far)}" if far.any() else None


def _scalar_difference(expected: Any, got: Any, where: str) -> str | None:
    if isinstance(expected, float):
        _require(isinstance(got, numbers.Real) and not isinstance(got, bool), where, got, "a float")
        if math.isnan(got):
            raise Unusable(f"your {where} is NaN (not a number).")
        return None if math.isclose(got, expected, rel_tol=1e-4, abs_tol=1e-9) else where
    if isinstance(expected, int) and not isinstance(expected, bool):
        _require(isinstance(got, numbers.Integral) and not isinstance(got, bool), where, got, "an int")
    else:
        _require(isinstance(got, type(expected)), where, got, kind_of(expected))
    return None if got == expected else where


def _require(condition: bool, where: str, got: Any, wanted: str) -> None:
    if not condition:
        hint = " Is a `return` missing?" if got is None and where == "result" else ""
        raise Unusable(f"your {where} is {kind_of(got)}; it should be {wanted}.{hint}")


def _numbers(dtype: torch.dtype) -> str:
    """The kind of number; the exact width does not matter."""
    if dtype == torch.bool:
        return "truth values (bool)"
    if dtype.is_complex:
        return "complex numbers"
    return "floating-point numbers" if dtype.is_floating_point else "whole numbers"


def _first(mask: Tensor) -> str:
    """The index of the first True of a mask, as in "[0, 2]"; nothing for a scalar."""
    index = mask.nonzero()[0].tolist()
    return str(index) if index else ""
