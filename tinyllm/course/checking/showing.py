"""Any value in a few words, however long, nested or broken it is."""

import reprlib
import textwrap
from collections.abc import Callable
from typing import Any

from torch import Tensor

_SMALL = 24  # the most values of a tensor that are shown in full
_LINES = 8  # of what a function printed


def kind_of(value: Any) -> str:
    """The type with its article: "a Tensor", "an int", "None"."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def show_printed(title: str, text: str) -> str:
    """What a function printed, indented below a title, as lines to append; "" if it printed nothing."""
    lines = text.rstrip().splitlines()
    if not lines:
        return ""
    shown = [textwrap.shorten(line, 120, placeholder=" ...") if len(line) > 120 else line for line in lines[:_LINES]]
    more = [f"... and {len(lines) - _LINES} lines more"] if len(lines) > _LINES else []
    return "\n".join(["", title, *(f"    {line}" for line in [*shown, *more])])


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
