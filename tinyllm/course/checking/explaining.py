"""What a wrong answer behaves like: the reference with other arguments, or with one thing changed."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from tinyllm.course.checking.diagnosis import Judged, same
from tinyllm.course.checking.registry import Case, Exercise, Function
from tinyllm.course.checking.substitutions import substitutions
from tinyllm.course.checking.trials import Trial, try_case
from tinyllm.course.checking.variations import variations

_SECONDS = 1.0  # for all that is tried


def explain(exercise: Exercise, answer: Function, judged: list[Judged]) -> str:
    """A sentence on what has the answer's results in every case, and so is true of them; "" if nothing has.

    The answer is not called again. Where results are a few truth values, much has the same ones, and nothing is said.
    """
    wrong = [one for one in judged if one.fault]
    if not _tells(wrong) or any(one.got.error is not None for one in judged):
        return ""
    ordered = sorted(judged, key=lambda one: one.fault is None)  # the wrong ones tell most
    end = time.monotonic() + _SECONDS
    cases = [_completed(exercise, one.case) for one in ordered]
    for sentence, run in _candidates(exercise, answer, cases[0]):
        if time.monotonic() > end:
            return ""
        if all(_has_results_of(run(case), one.got) for case, one in zip(cases, ordered, strict=True)):
            return sentence
    return ""


def _completed(exercise: Exercise, case: Case) -> Case:
    """With the defaults of what was left out."""
    return *case, *(parameter.default for parameter in list(exercise.case_parameters.values())[len(case) :])


def _candidates(exercise: Exercise, answer: Function, case: Case) -> Iterator[tuple[str, Any]]:
    for sentence, change in substitutions(exercise, answer, case):

        def changed(case: Case, change: Any = change) -> Trial | None:
            try:
                return try_case(exercise, exercise.reference, change(case), seconds=_SECONDS / 4)
            except Exception:  # there is no such case, as with an argument that was left out
                return None

        yield sentence, changed
    for sentence, function in variations(exercise.reference):
        yield sentence, lambda case, function=function: try_case(exercise, function, case, seconds=_SECONDS / 4)


def _has_results_of(other: Trial | None, got: Trial) -> bool:
    try:
        return other is not None and other.error is None and same(other.value, got.value)
    except Exception:
        return False


def _tells(wrong: list[Judged]) -> bool:
    """Whether the wrong results say enough: numbers, or at least three."""
    if any(one.fault and one.fault.kind != "wrong" for one in wrong):
        return False
    numbers = sum(_count_of_numbers(one.expected.value) for one in wrong)
    return numbers > 2 or (len(wrong) > 2 and not any(_is_truth(one.expected.value) for one in wrong))


def _count_of_numbers(value: Any) -> int:
    if isinstance(value, Tensor | np.ndarray):
        return int(np.prod(value.shape)) if "bool" not in str(value.dtype) else 0
    if isinstance(value, dict):
        return sum(map(_count_of_numbers, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_count_of_numbers, value))
    return int(isinstance(value, float))


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or (
        isinstance(value, dict) and any(isinstance(item, bool) for item in value.values())
    )
