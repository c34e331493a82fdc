"""When two results are the same, and how to speak of them in a few words."""

import math
import numbers
import reprlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_SMALL = 24  # values of a tensor that are shown


class Unusable(Exception):
    """What came back cannot be compared: the message says why."""


def difference(expected: Any, got: Any, where: str = "result") -> str | None:
    """Where `got` first differs from `expected`, such as "result[2]"; None if nowhere.

    Floating-point numbers may differ by rounding. Raises Unusable for another type or shape, and for NaN.
    """
    if isinstance(expected, Tensor):
        _require(isinstance(got, Tensor), where, got, f"a tensor of shape {tuple(expected.shape)}")
        if got.shape != expected.shape:
            shape, wanted = tuple(got.shape), tuple(expected.shape)
            raise Unusable(f"your {where} has shape {shape}; {wanted} is wanted.")
        if _numbers(got.dtype) != _numbers(expected.dtype):
            raise Unusable(f"your {where} holds {_numbers(got.dtype)}; {_numbers(expected.dtype)} are wanted.")
        expected, got = expected.detach().double(), got.detach().cpu().double()
        if got.isnan().any():
            raise Unusable(f"your {where}{_first(got.isnan())} is NaN (not a number).")
        far = ~torch.isclose(got, expected, rtol=1e-4, atol=1e-5)
        return f"{where}{_first(far)}" if far.any() else None
    if isinstance(expected, dict):
        _require(isinstance(got, dict), where, got, "a dict")
        if got.keys() != expected.keys():
            return where
        places = [difference(expected[key], got[key], f"{where}[{key!r}]") for key in expected]
        return next(filter(None, places), None)
    if isinstance(expected, list | tuple):
        kind = type(expected)
        _require(isinstance(got, kind), where, got, f"a {kind.__name__}")
        if len(got) != len(expected):
            return f"the length of {where}"
        pairs = zip(expected, got, strict=True)
        places = [difference(one, other, f"{where}[{place}]") for place, (one, other) in enumerate(pairs)]
        return next(filter(None, places), None)
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


def same(one: Any, other: Any) -> bool:
    """Whether two results, or two errors, are alike; NaN is like NaN, and a Counter like a dict."""
    if isinstance(one, BaseException):
        return type(one) is type(other) and str(one) == str(other)
    if isinstance(one, Tensor):
        alike = isinstance(other, Tensor) and one.shape == other.shape
        alike = alike and one.dtype == other.dtype and one.device == other.device
        return alike and torch.allclose(one.detach().double(), other.detach().double(), 1e-4, 1e-5, equal_nan=True)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        alike = isinstance(other, list | tuple) and isinstance(one, list) == isinstance(other, list)
        return alike and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, numbers.Real) and isinstance(other, numbers.Real):
        close = math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
        return close and isinstance(one, bool) == isinstance(other, bool)
    return type(one) is type(other) and one == other


def _require(condition: bool, where: str, got: Any, wanted: str) -> None:
    if not condition:
        hint = " Is a `return` missing?" if got is None and where == "result" else ""
        raise Unusable(f"your {where} is {kind_of(got)}; {wanted} is wanted.{hint}")


def kind_of(value: Any) -> str:
    """The type in words: "a Tensor", "an int", "None"."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


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


class _Short(reprlib.Repr):
    """Short text for any value, however long, nested or broken."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = 12
        self.maxstring = self.maxother = 120

    def repr_Tensor(self, value: Tensor, level: int) -> str:  # called by the type's name
        value = value.detach()
        if value.numel() <= _SMALL:
            return f"tensor {tuple(value.shape)} {self.repr1(value.tolist(), self.maxlevel)}"
        return f"tensor {tuple(value.shape)}, it begins {self.repr1(value.flatten()[:6].tolist(), self.maxlevel)}"

    repr_Parameter = repr_Tensor

    def repr_float(self, value: float, level: int) -> str:
        return f"{value:.4g}"

    def repr_function(self, value: Callable, level: int) -> str:
        return "a function"

    def repr_instance(self, value: Any, level: int) -> str:
        return " ".join(super().repr_instance(value, level).split())  # a module's text has many lines


show = _Short().repr
