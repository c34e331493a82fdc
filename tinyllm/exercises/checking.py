"""How an answer is judged: on cases drawn just now, beside the reference's results.

An exercise is its reference function, registered by `@exercise` in the chapter's module. Its name is
"<chapter>.<function>".
"""

import copy
import importlib
import math
import numbers
import random
import reprlib
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tinyllm.config import near_names

CHAPTERS = ("tokenization", "data", "attention", "block", "gpt", "training", "sampling")
EXERCISES: dict[str, "Exercise"] = {}
_SMALL = 24  # values of a tensor that are shown


@dataclass(frozen=True)
class Exercise:
    """A reference, the cases it is compared on, and what of a call is compared (its result, as a rule)."""

    reference: Callable
    cases: Callable[[], list[tuple]]
    observe: Callable


@dataclass(frozen=True)
class Verdict:
    """What became of an answer. `unusable`: nothing that can be compared came back."""

    kind: Literal["not attempted", "correct", "wrong", "raised", "unusable"]
    message: str


class Unusable(Exception):
    """What came back cannot be compared: the message says why."""


def call(function: Callable, *arguments: Any) -> Any:
    """What most exercises compare: the result."""
    return function(*arguments)


def exercise(cases: Callable[[], list[tuple]], observe: Callable = call) -> Callable[[Callable], Callable]:
    """Register a reference.

    Args:
        cases: draws the arguments of each case; it may use the global random state.
        observe: called with a function and a case's arguments; returns what is compared.
    """

    def register(reference: Callable) -> Callable:
        chapter = reference.__module__.rpartition(".")[2]
        EXERCISES[f"{chapter}.{reference.__name__}"] = Exercise(reference, cases, observe)
        return reference

    return register


def check(name: str, answer: Callable) -> None:
    """Compare your function with the reference, on cases drawn just now, and print the verdict.

    Raises ValueError, with near names, for a name that no exercise has.
    """
    print(examine(name, answer).message)


def examine(name: str, answer: Callable) -> Verdict:
    """Judge an answer. Nothing it does is raised here, except a keyboard interrupt."""
    exercise = _find(name)
    if not callable(answer):
        function = exercise.reference.__name__
        return Verdict("unusable", f"{name}: give the function itself, {function}, not {_kind(answer)}.")
    with own_random_state():
        cases = exercise.cases()  # all of them now: an answer may set the seed
        for number, arguments in enumerate(cases, start=1):
            expected = exercise.observe(exercise.reference, *copy.deepcopy(arguments))
            given = f"\nCase {number} of {len(cases)}:{_show_arguments(exercise.reference, arguments)}"
            try:
                got = exercise.observe(answer, *copy.deepcopy(arguments))
                where = difference(expected, got)
                shown = _show(got)
            except Unusable as error:
                return Verdict("unusable", f"{name}: {error}{given}")
            except (Exception, SystemExit) as error:
                # PyTorch raises this error too, for a type it cannot compute with, but says so in a message.
                if number == 1 and isinstance(error, NotImplementedError) and not error.args:
                    message = f"{name}: not attempted yet. Replace `raise NotImplementedError` with your answer."
                    return Verdict("not attempted", message)
                return Verdict("raised", f"{name}: your code raised {_show_error(error)}{given}")
            if where:
                result = f"\n  expected: {_show(expected)}\n  got: {shown}"
                place = "" if where == "result" else f"\n  first difference: {where}"
                return Verdict("wrong", f"{name}: not right yet.{given}{result}{place}")
    return Verdict("correct", f"{name}: correct, on {len(cases)} cases drawn just now.")


def _find(name: str) -> Exercise:
    chapter = str(name).partition(".")[0]
    for module in CHAPTERS:  # an unknown chapter: all of them, to name the exercises that are near
        if module == chapter or chapter not in CHAPTERS:
            importlib.import_module(f"tinyllm.exercises.{module}")
    if name not in EXERCISES:
        raise ValueError(f"unknown exercise {name!r}{near_names(str(name), EXERCISES)}")
    return EXERCISES[name]


@contextmanager
def own_random_state() -> Iterator[None]:
    """New random numbers inside; outside, those that would have come anyway."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed()
            np.random.seed()
            torch.default_generator.seed()
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


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
        _require(isinstance(got, type(expected)), where, got, _kind(expected))
    return None if got == expected else where


def _require(condition: bool, where: str, got: Any, wanted: str) -> None:
    if not condition:
        hint = " Is a `return` missing?" if got is None and where == "result" else ""
        raise Unusable(f"your {where} is {_kind(got)}; {wanted} is wanted.{hint}")


def _kind(value: Any) -> str:
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


_show = _Short().repr


def _show_arguments(reference: Callable, arguments: tuple) -> str:
    named = zip(signature(reference).parameters, arguments, strict=False)  # a default may be left out
    return "".join(f"\n  {name} = {_show(value)}" for name, value in named)


def _show_error(error: BaseException) -> str:
    """An error's type and message, and the last line of the learner's own code on the way to it."""
    text = textwrap.shorten(" ".join(traceback.format_exception_only(error)), 240, placeholder=" ...")
    ours = Path(__file__).parent
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent != ours]
    if not frames:  # the call itself failed, or a built-in function was given
        return text
    theirs = [frame for frame in frames if frame.filename == frames[0].filename]
    return f"{text}\n  in line {theirs[-1].lineno}: {theirs[-1].line}"
