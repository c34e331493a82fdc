"""Any value in a few words, however long, nested or broken it is."""

import reprlib
from collections.abc import Callable
from typing import Any

from torch import Tensor

_SMALL = 24  # the most values of a tensor that are shown in full


def kind_of(value: Any) -> str:
    """The type with its article: "a Tensor", "an int", "None"."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = 12
        self.maxstring = self.maxother = 120

    def repr_Tensor(self, value: Tensor, level: int) -> str:  # reprlib finds it by the type's name
        value = value.detach()
        if value.numel() <= _SMALL:
            return f"tensor {tuple(value.shape)} {self.repr1(_with_digits(value), self.maxlevel)}"
        return f"tensor {tuple(value.shape)}, it begins {self.repr1(value.flatten()[:6].tolist(), self.maxlevel)}"

    repr_Parameter = repr_Tensor

    def repr_float(self, value: float, level: int) -> str:
        return f"{value:.4g}"

    def repr_function(self, value: Callable[..., Any], level: int) -> str:
        return "a function"

    def repr_instance(self, value: Any, level: int) -> str:
        return " ".join(super().repr_instance(value, level).split())  # a module's text has many lines


class _Exact(float):
    """A number that is shown with all its digits."""

    def __repr__(self) -> str:
        return f"{float(self):.9g}"


def _with_digits(value: Tensor) -> Any:
    """The values as lists; where the usual four digits would hide that some differ, with all digits."""
    numbers = [one for one in value.flatten().tolist() if isinstance(one, float)]
    if len({f"{one:.4g}" for one in numbers}) == len({f"{one:.9g}" for one in numbers}):
        return value.tolist()
    return _mapped(value.tolist())


def _mapped(value: Any) -> Any:
    return list(map(_mapped, value)) if isinstance(value, list) else _Exact(value)


show = _Short().repr
