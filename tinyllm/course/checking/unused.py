"""An argument that makes no difference to a wrong answer, though it does to the right one."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tinyllm.course.checking.diagnosis import Judged, same
from tinyllm.course.checking.registry import Case, Exercise, Function
from tinyllm.course.checking.transformations import FUNCTIONS, TRANSFORMATIONS
from tinyllm.course.checking.trials import Trial, try_case

_SECONDS = 0.5  # of this thread's own time
_CASES = 4  # wrong ones, and as many right ones, in which the argument is changed
_CHANGES = ("twice {}", "half of {}", "{} + 1", "{} in reverse order", "-1 times {}", "{} without its last")


def unused_argument(exercise: Exercise, answer: Function, judged: list[Judged]) -> str:
    """The sentence on it; "" if each argument matters, or if the answer is too slow to find out.

    The answer is called with changed arguments: where the reference then gives something else, it never does.
    """
    end = time.thread_time() + _SECONDS
    wrong = [one for one in judged if one.fault][:_CASES]
    right = [one for one in judged if not one.fault][:_CASES]
    if any(one.got.error is not None for one in judged) or len(wrong) < 2:
        return ""
    for index, name in enumerate(exercise.case_parameters):
        matters, unmoved = False, 0
        for changed, one in _changed(wrong + right, index):
            if time.thread_time() > end:
                return ""
            if not _moves(exercise, exercise.reference, one.expected, changed):
                continue
            matters = _moves(exercise, answer, one.got, changed)
            unmoved += not matters
            if matters:
                break
        if unmoved > 2 and not matters:
            return f"Your result does not depend on `{name}`. It should."
    return ""


def _changed(judged: list[Judged], index: int) -> list[tuple[Case, Judged]]:
    """Cases with another value of one argument, each beside the case as it was."""
    found = []
    for one in judged:
        case = one.case
        for change in _changes(case[index]) if len(case) > index else ():
            try:
                found.append(((*case[:index], change(case[index]), *case[index + 1 :]), one))
            except Exception:  # it makes no sense for such a value
                continue
    return found


def _changes(value: Any) -> list[Callable[[Any], Any]]:
    if isinstance(value, bool):
        return [lambda old: not old]
    if isinstance(value, Tensor) and value.dtype == torch.bool:
        return [lambda old: ~old, lambda old: old.flip(-1), lambda old: old & False]
    if isinstance(value, int | float | Tensor | list | bytes):
        return [FUNCTIONS[TRANSFORMATIONS[words]] for words in _CHANGES]
    return []


def _moves(exercise: Exercise, function: Function, before: Trial, changed: Case) -> bool:
    """Whether the change makes a difference; False for a reference that cannot compute with it."""
    after = try_case(exercise, function, changed, seconds=_SECONDS)
    if after.error is not None:
        return function is not exercise.reference
    return not _alike(before, after)


def _alike(one: Trial, other: Trial) -> bool:
    try:
        return one.error is None and other.error is None and same(one.value, other.value)
    except Exception:  # whatever an answer's own object raises when it is compared
        return False
