"""An argument that makes no difference to a wrong answer, though it does to the right one."""

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinyllm.course.checking.diagnosis import Judged, same
from tinyllm.course.checking.random_state import own_random_state
from tinyllm.course.checking.registry import Case, Exercise, Function
from tinyllm.course.checking.telling import leaves, shows
from tinyllm.course.checking.transformations import FUNCTIONS, TRANSFORMATIONS
from tinyllm.course.checking.trials import Trial, try_case

_SECONDS = 0.5  # of this thread's own time
_CASES = 4  # wrong ones, and as many right ones, in which the argument is changed
_CHANGES = ("twice {}", "half of {}", "{} + 1", "{} in reverse order", "-1 times {}", "{} without its last")


def unused_argument(exercise: Exercise, answer: Function, judged: list[Judged]) -> str:
    """The sentence on it; "" if each argument matters, or if that is not sure, or takes too long to find out.

    The answer is called with changed arguments: where the reference then gives something else, it never does. A result
    that could not show a change, such as NaN or an overflow, says nothing.
    """
    end = time.thread_time() + _SECONDS
    wrong = [one for one in judged if one.fault][:_CASES]
    right = [one for one in judged if not one.fault][:_CASES]
    if any(one.got.error is not None for one in judged) or len(wrong) < 2:
        return ""
    with own_random_state():
        before = {id(one): _without_chance(exercise, answer, one) for one in wrong + right}
        for index, name in enumerate(exercise.case_parameters):
            matters, unmoved = False, 0
            for changed, one in _changed(wrong + right, index):
                if time.thread_time() > end:
                    return ""
                if not shows(one.expected.returned) or not _moves_reference(exercise, one, changed):
                    continue
                matters = not _identical(exercise, before[id(one)], _drawing_alike(exercise, answer, changed))
                unmoved += not matters and shows(before[id(one)].returned)
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
        return [lambda old: ~old, lambda old: old.flip(-1), lambda old: old & False, lambda old: old | True]
    if isinstance(value, int | float | Tensor | list | bytes):
        return [FUNCTIONS[TRANSFORMATIONS[words]] for words in _CHANGES]
    return []


def _moves_reference(exercise: Exercise, one: Judged, changed: Case) -> bool:
    """Whether the right result is then another; False also where there is none, as for the logarithm of -1."""
    after = try_case(exercise, exercise.reference, changed, seconds=_SECONDS)
    return after.error is None and shows(after.returned) and not same(one.expected.value, after.value)


def _without_chance(exercise: Exercise, answer: Function, one: Judged) -> Trial:
    """The case's own trial; where random numbers were drawn, another one."""
    drawn = any("generator" in change for change in one.got.global_changes)
    return _drawing_alike(exercise, answer, one.case) if drawn else one.got


def _drawing_alike(exercise: Exercise, answer: Function, case: Case) -> Trial:
    """A trial that draws the random numbers of any other, so that these make no difference."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    return try_case(exercise, answer, case, seconds=_SECONDS)


def _identical(exercise: Exercise, one: Trial, other: Trial) -> bool:
    """Whether two results are so to the last bit: what hardly depends on an argument depends on it.

    The last result is compared, and what is made of all of them for judging, which may be a few truth values. Not if
    they are measured: what is made of them is the nearest of some known numbers then, which the arguments decide.
    """
    if one.error is not None or other.error is not None:
        return False
    pairs = [(one.returned, other.returned), *([] if exercise.draws else [(one.value, other.value)])]
    try:
        return all(list(leaves(mine)) == list(leaves(changed)) and same(mine, changed) for mine, changed in pairs)
    except Exception:  # whatever an answer's own object raises when it is compared
        return False
