"""Which known mistake a wrong answer has made: the one whose results it has in every case."""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tinyllm.course.checking.comparing import is_close, plain
from tinyllm.course.checking.distance import explains
from tinyllm.course.checking.faults import Fault
from tinyllm.course.checking.registry import Case, Exercise
from tinyllm.course.checking.trials import Trial, try_answer


@dataclass(frozen=True)
class Judged:
    """One case of an answer beside the reference, and what is wrong with its value."""

    case: Case
    expected: Trial
    got: Trial
    fault: Fault | None


def diagnose(exercise: Exercise, judged: list[Judged], side_effects: bool = False) -> str:
    """What to tell the learner: the diagnosis of the mistake with the answer's results in every case.

    "" if there is none, if two with different diagnoses have these results, or if the answer was stopped.

    Args:
        side_effects: whether what a call does besides, and its gradients, must be alike too.
    """
    if any(one.got.timed_out for one in judged):
        return ""
    alike = _alike_in_all if side_effects else _alike_in_value
    found = _mistakes(exercise, judged, lambda trial, one: alike(trial, one.got))
    if not found and not side_effects and any(one.fault for one in judged):
        found = _mistakes(exercise, judged, _alike_where_it_can_be)
    return found.pop() if len(found) == 1 else ""


def _mistakes(exercise: Exercise, judged: list[Judged], alike: Callable[[Trial, Judged], bool]) -> set[str]:
    """The diagnoses of those that are like the answer in every case."""
    return {
        diagnosis
        for function, diagnosis in exercise.mistakes
        if all(alike(try_answer(exercise, function, one.case, one.expected), one) for one in judged)
    }


def _alike_where_it_can_be(trial: Trial, one: Judged) -> bool:
    """Where a mistake fails, as at a division by 0, an answer that makes it may have taken care of that case."""
    return _alike_in_value(trial, one.got) or (trial.error is not None and one.fault is None)


def diagnose_where_wrong(exercise: Exercise, judged: list[Judged]) -> str:
    """The diagnosis of the mistake with the answer's results in all wrong cases, and not in all right ones; or ""."""
    wrong = [one for one in judged if one.fault]
    if any(one.got.error is not None for one in judged):
        return ""
    found = {
        diagnosis
        for function, diagnosis in exercise.mistakes
        if all(_explained_by(try_answer(exercise, function, one.case, one.expected), one) for one in wrong)
    }
    return found.pop() if len(found) == 1 else ""


def _explained_by(trial: Trial, one: Judged) -> bool:
    alike = trial.error is None and _alike_in_value(trial, one.got)
    return alike and explains(trial.value, one.got.value, one.expected.value)


def _alike_in_value(one: Trial, other: Trial) -> bool:
    try:
        if one.error is not None or other.error is not None:
            return same(one.error, other.error)
        return same(one.value, other.value) and same(one.clues, other.clues)
    except Exception:  # whatever an answer's own object raises when it is compared
        return False


def _alike_in_all(one: Trial, other: Trial) -> bool:
    effects = [(trial.changed, trial.global_changes) for trial in (one, other)]
    return effects[0] == effects[1] and _alike_in_value(one, other) and same(one.gradients, other.gradients)


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
        close = is_close(float(one), float(other)) or (math.isnan(one) and math.isnan(other))
        return close and isinstance(one, bool) == isinstance(other, bool)
    return type(one) is type(other) and bool(one == other)
