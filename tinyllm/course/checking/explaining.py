"""What a wrong answer behaves like: the reference with other arguments, or with one thing changed in its code."""

import inspect
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from tinyllm.course.checking.diagnosis import Judged, same
from tinyllm.course.checking.distance import explains
from tinyllm.course.checking.own_words import names_in, without_names
from tinyllm.course.checking.registry import Case, Exercise, Function
from tinyllm.course.checking.substitutions import numbers_of, substitutions
from tinyllm.course.checking.telling import tells, tells_much, where_wrong
from tinyllm.course.checking.trials import Trial, try_case
from tinyllm.course.checking.variations import variations, with_numbers

_SECONDS = 1.5  # of this thread's own time, for all that is tried


class Likeness(NamedTuple):
    """What has the answer's results in every case, and what has them in every wrong case only; "" if nothing has."""

    everywhere: str = ""
    where_wrong: str = ""


Candidate = tuple[str, Callable[[Case], Trial | None]]


def like_other_arguments(exercise: Exercise, answer: Function, judged: list[Judged]) -> Likeness:
    """The change of arguments with which the reference has the answer's results, in a sentence.

    An answer may be right in some cases for reasons of its own: so what holds in the wrong ones alone is said too, if
    these have many numbers. The answer is not called again. Where results are a few truth values, much has the same
    ones, and nothing is said.
    """
    return _first_alike(exercise, judged, lambda case: _of_arguments(exercise, answer, case))


def like_other_code(exercise: Exercise, answer: Function, judged: list[Judged]) -> Likeness:
    """The same for one change in the code of the reference, or of a right answer in other words."""
    return _first_alike(exercise, judged, lambda _: _of_code(exercise, answer))


def _first_alike(
    exercise: Exercise, judged: list[Judged], candidates: Callable[[Case], Iterator[Candidate]]
) -> Likeness:
    wrong = [one for one in judged if one.fault]
    if not tells(wrong) or any(one.got.error is not None for one in judged):
        return Likeness()
    ordered = sorted(judged, key=lambda one: one.fault is None)  # the wrong ones tell most
    end = time.thread_time() + _SECONDS
    cases = [_completed(exercise, one.case) for one in ordered]
    partly = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # much of what is tried makes no sense
        for sentence, run in candidates(cases[0]):
            if time.thread_time() > end:
                break
            alike = _count_alike(run, cases, ordered)
            if alike == len(judged):
                return Likeness(everywhere=sentence)
            if alike >= len(wrong) and tells_much(wrong):
                partly = partly or where_wrong(sentence)
    return Likeness(where_wrong=partly)


def _count_alike(run: Callable[[Case], Trial | None], cases: list[Case], ordered: list[Judged]) -> int:
    """In how many cases, from the first on, the results are those of the answer."""
    pairs = zip(cases, ordered, strict=True)
    return next((index for index, (case, one) in enumerate(pairs) if not _has_results_of(run(case), one)), len(cases))


def _completed(exercise: Exercise, case: Case) -> Case:
    """With the defaults of what was left out."""
    return *case, *(parameter.default for parameter in list(exercise.case_parameters.values())[len(case) :])


def _of_arguments(exercise: Exercise, answer: Function, case: Case) -> Iterator[Candidate]:
    for sentence, change in substitutions(exercise, answer, case):
        yield sentence, partial(_with_change, exercise, change)
    for right in (exercise.reference, *exercise.forms):
        foreign = names_in(right) - set(inspect.signature(right).parameters) - names_in(answer)
        for sentence, function in with_numbers(right, numbers_of(answer)):
            yield without_names(sentence, foreign), partial(try_case, exercise, function, seconds=_SECONDS / 6)


def _with_change(exercise: Exercise, change: Callable[[Case], Case], case: Case) -> Trial | None:
    try:
        return try_case(exercise, exercise.reference, change(case), seconds=_SECONDS / 6)
    except Exception:  # there is no such case, as with an argument that was left out
        return None


def _of_code(exercise: Exercise, answer: Function) -> Iterator[Candidate]:
    known = names_in(answer)
    for right in (exercise.reference, *exercise.forms):
        foreign = names_in(right) - set(inspect.signature(right).parameters) - known
        for sentence, function in variations(right):
            yield without_names(sentence, foreign), partial(try_case, exercise, function, seconds=_SECONDS / 6)


def _has_results_of(other: Trial | None, one: Judged) -> bool:
    """Whether the results are those of the answer, and nearer to them than the right ones are."""
    if other is None or other.error is not None:
        return False
    try:
        alike = same(other.value, one.got.value)
        return alike and (one.fault is None or explains(other.value, one.got.value, one.expected.value))
    except Exception:
        return False
