"""Which known mistake a wrong answer has made: the one whose results it has in every case."""

import copy
import math
import numbers
from typing import Any

import torch
from torch import Tensor

from tinyllm.course.checking.comparing import is_close, plain
from tinyllm.course.checking.registry import Case, Exercise, Function


def diagnose(exercise: Exercise, cases: list[Case], answer: Function) -> str:
    """What to tell the learner: the diagnosis of the first mistake with the answer's results; "" if there is none."""
    outcomes = [_outcome(exercise, answer, case) for case in cases]
    for function, diagnosis in exercise.mistakes:
        if all(
            same(_outcome(exercise, function, case), outcome) for case, outcome in zip(cases, outcomes, strict=True)
        ):
            return diagnosis
    return ""


def _outcome(exercise: Exercise, function: Function, arguments: Case) -> Any:
    """What is compared of a call, or the error it ended in."""
    try:
        return exercise.observe(function, *copy.deepcopy(arguments))
    except (Exception, SystemExit) as error:
        return error


def same(one: Any, other: Any) -> bool:
    """Whether two results, or two errors, are alike by value; NaN equals NaN here, and a Counter equals a dict."""
    if isinstance(one, BaseException):
        return type(one) is type(other) and str(one) == str(other)
    if isinstance(one, Tensor) and isinstance(other, Tensor) and one.dim() + other.dim() > 0:
        alike = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
        return alike and torch.allclose(one.detach().double(), other.detach().double(), 1e-4, 1e-5, equal_nan=True)
    one, other = plain(one), plain(other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, numbers.Real) and isinstance(other, numbers.Real):
        close = is_close(one, other) or (math.isnan(one) and math.isnan(other))
        return close and isinstance(one, bool) == isinstance(other, bool)
    return type(one) is type(other) and bool(one == other)
