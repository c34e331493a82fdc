"""Where a result differs from the expected one: by value, whatever type holds the value.

A number may be an int, a float, a numpy scalar or a tensor without dimensions; a sequence may be a list, a tuple or an
array. What is no value of the right kind (None, a bool for a number, another shape) is refused with a sentence.
"""

import math
import numbers
from collections import deque
from collections.abc import Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinyllm.course.checking.showing import kind_of


class Unusable(Exception):
    """What came back cannot be compared: the message says why."""


class Symptom(Unusable):
    """Another shape, or NaN: the message says what came back, and not what has gone wrong."""


def difference(expected: Any, got: Any, where: str = "result") -> str | None:
    """Where `got` first differs from `expected`, such as "result[2]"; None if nowhere.

    Floating-point numbers may differ by rounding. Raises Unusable for another kind of value or shape, and for NaN.
    """
    if isinstance(expected, Tensor):
        return _tensor_difference(expected, got, where)
    if isinstance(expected, dict):
        _require(isinstance(got, Mapping), where, got, "a dict")
        if got.keys() != expected.keys():
            return where
        return _first_difference((expected[key], got[key], f"{where}[{key!r}]") for key in expected)
    if isinstance(expected, list | tuple):
        parts = _rows(expected, got, where)
        _require(isinstance(parts, list | tuple), where, got, f"a {type(expected).__name__}")
        if len(parts) != len(expected):
            return f"the length of {where}"
        pairs = enumerate(zip(expected, parts, strict=True))
        return _first_difference((one, other, f"{where}[{index}]") for index, (one, other) in pairs)
    return _scalar_difference(expected, got, where)


def _rows(expected: Iterable[Any], got: Any, where: str) -> Any:
    """What is compared with the parts of a sequence: of a tensor its rows, where tensors are expected."""
    if isinstance(got, Tensor) and got.dim() > 0 and all(isinstance(part, Tensor) for part in expected):
        return list(dense(got, where))
    return plain(got)


def plain(value: Any) -> Any:
    """A tensor, an array, a numpy scalar or a deque as Python's own numbers and lists; anything else as it is.

    Raises Unusable for a tensor that has no values to look at.
    """
    if isinstance(value, Tensor):
        return dense(value).tolist()
    if isinstance(value, deque):
        return list(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def dense(value: Tensor, where: str = "result") -> Tensor:
    """A tensor as one that can be compared. Raises Unusable for one without values, or with another layout."""
    if value.is_meta:
        raise Unusable(f"your {where} is a tensor without values (on the device 'meta').")
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        raise Unusable(f"your {where} is a tensor of a special kind ({value.layout}); it should be an ordinary one.")
    return value.detach().cpu()


def is_close(one: float, other: float) -> bool:
    """Whether two numbers are the same but for rounding."""
    return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-9)


def _first_difference(parts: Iterable[tuple[Any, Any, str]]) -> str | None:
    """All parts are compared before the first difference counts: one that is unusable matters more."""
    differences = [difference(*part) for part in parts]
    return next(filter(None, differences), None)


def _tensor_difference(expected: Tensor, got: Any, where: str) -> str | None:
    if expected.dim() == 0 and not isinstance(got, Tensor):
        return _scalar_difference(expected.item(), got, where)
    _require(isinstance(got, Tensor), where, got, f"a tensor of shape {tuple(expected.shape)}")
    if got.shape != expected.shape:
        raise Symptom(f"your {where} has shape {tuple(got.shape)}; it should have {tuple(expected.shape)}.")
    if _numbers(got.dtype) != _numbers(expected.dtype):
        raise Unusable(f"your {where} contains {_numbers(got.dtype)}; it should contain {_numbers(expected.dtype)}.")
    expected, got = expected.detach().double(), dense(got, where).double()
    if got.isnan().any():
        raise Symptom(f"your {where}{_first(got.isnan())} is NaN (not a number).")
    far = ~torch.isclose(got, expected, rtol=1e-4, atol=1e-5)
    return f"{where}{_first(far)}" if far.any() else None


def _scalar_difference(expected: Any, got: Any, where: str) -> str | None:
    value = plain(got)
    if isinstance(expected, numbers.Real) and not isinstance(expected, bool):
        wanted = kind_of(expected)
        _require(isinstance(value, numbers.Real) and not isinstance(value, bool), where, got, wanted)
        if math.isnan(value):
            raise Symptom(f"your {where} is NaN (not a number).")
        if isinstance(expected, int):
            return None if value == expected else where
        return None if is_close(float(value), float(expected)) else where
    _require(isinstance(value, type(expected)), where, got, kind_of(expected))
    return None if value == expected else where


def _require(condition: bool, where: str, got: Any, wanted: str) -> None:
    if not condition:
        hint = " Is a `return` missing?" if got is None and where == "result" else ""
        if isinstance(got, Iterator | ValuesView | KeysView) and "list" in wanted:
            hint = " Make one of it: list(...)."
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
