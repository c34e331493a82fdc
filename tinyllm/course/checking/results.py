"""What is wrong with an answer's results, whatever its code is: a sentence that holds in every wrong case."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from operator import add, mul, sub, truediv
from typing import Any, NamedTuple

import numpy as np

from tinyllm.course.checking.case_features import features
from tinyllm.course.checking.comparing import difference, plain
from tinyllm.course.checking.diagnosis import Judged, same
from tinyllm.course.checking.distance import explains, numbers_in, shape_of
from tinyllm.course.checking.hints import where
from tinyllm.course.checking.laws import Pair, law
from tinyllm.course.checking.registry import Case, Exercise
from tinyllm.course.checking.relations import Array, Place, array_of, relations
from tinyllm.course.checking.showing import show
from tinyllm.course.checking.telling import shows
from tinyllm.course.checking.trials import Trial


class _Wrong(NamedTuple):
    """A result, or a part of one, that differs from the expected one."""

    expected: Any
    got: Any
    case: Case


def relation(exercise: Exercise, judged: list[Judged]) -> str:
    """What the results are, beside the right ones, and in which cases; "" if no sentence holds in every wrong case."""
    if any(one.got.error is not None for one in judged):
        return ""
    if exercise.draws:  # what is measured is settled before it is compared; what is computed need not be
        judged = [replace(one, expected=_as_returned(one.expected), got=_as_returned(one.got)) for one in judged]
    wrong = [_Wrong(one.expected.value, one.got.value, one.case) for one in judged if one.fault]
    try:
        with np.errstate(all="ignore"):
            sentence = _same_everywhere(judged) or _of(exercise, wrong) or _of_parts(exercise, wrong)
        return f"{sentence} {where(exercise, judged)}".strip() if sentence else ""
    except Exception:  # whatever an answer's own object raises when it is looked at
        return ""


def _as_returned(trial: Trial) -> Trial:
    return replace(trial, value=trial.returned)


def _same_everywhere(judged: list[Judged]) -> str:
    values = [one.got.returned if _is_number(one.got.returned) else one.got.value for one in judged]
    if len(values) > 2 and shows(values[0]) and all(same(value, values[0]) for value in values):
        return "Your result is the same in every case: does it use its arguments?"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of(exercise: Exercise, wrong: list[_Wrong]) -> str:
    """The plainest sentence on these results; "" also where few numbers are all there is, as these always have one."""
    rights, mine = ({show(one[side]) for one in wrong} for side in (0, 1))
    if not hasattr(plain(wrong[0].expected), "__len__") and (len(rights) < 3 or len(mine) < 2):
        return ""
    sizes = [features(exercise.case_parameters, one.case) for one in wrong]
    held = [relations(one.expected, one.got, size) for one, size in zip(wrong, sizes, strict=True)]
    told = {one for case in held for one in case if not isinstance(one, Place)}
    shared = [one for one in held[0] if one in told and all(one in others for others in held)]
    if shared or (shared := _in_turn(held)):
        return shared[0]
    pairs = [_pair(one, size) for one, size in zip(wrong, sizes, strict=True)]
    known = [pair for pair in pairs if pair]
    found = law(known) if len(known) == len(pairs) else ""
    return found or next(_of_arguments(exercise, wrong), "")


def _in_turn(held: list[list[str]]) -> list[str]:
    """What does not hold, where that differs from case to case and each wrong case has something."""
    broken = "It does not hold that "
    firsts = [next((one.removeprefix(broken) for one in case if one.startswith(broken)), "") for case in held]
    found = list(dict.fromkeys(firsts))
    return [f"{broken}{'; in other cases, that '.join(one.rstrip('.') for one in found)}."] if all(firsts) else []


def _pair(one: _Wrong, size: dict[str, float]) -> Pair | None:
    """Both results as arrays of numbers, if they have the same form."""
    if shape_of(one.expected) != shape_of(one.got):
        return None
    right, mine = (np.array(list(numbers_in(value)), float) for value in (one.expected, one.got))
    single = right.size == 1 and not hasattr(plain(one.expected), "__len__")
    return Pair(right.reshape(() if single else -1), mine.reshape(() if single else -1), size) if right.size else None


_COMBINED: tuple[tuple[Callable[[Array, Array], Array], str], ...] = (
    (lambda right, argument: argument, "It is `{}`, as it was given."),
    (add, "It is the right result plus `{}`."),
    (sub, "It is the right result minus `{}`."),
    (mul, "It is the right result times `{}`."),
    (truediv, "It is the right result divided by `{}`."),
)


def _of_arguments(exercise: Exercise, wrong: list[_Wrong]) -> Iterator[str]:
    """An argument that comes back, or one with which the right result is combined once too often."""
    for index, name in enumerate(exercise.case_parameters):
        if all(len(one.case) > index and _same_list(one.case[index], one.got) for one in wrong):
            yield f"It is `{name}`, as it was given."
        for combined, words in _COMBINED:
            if all(len(one.case) > index and _is_combined(combined, one, one.case[index]) for one in wrong):
                yield words.format(name)


def _same_list(argument: Any, got: Any) -> bool:
    return isinstance(argument, list | tuple | str | bytes) and len(argument) > 0 and same(argument, got)


def _is_combined(combined: Callable[[Array, Array], Array], one: _Wrong, argument: Any) -> bool:
    right, mine, given = array_of(one.expected), array_of(one.got), array_of(argument)
    if right is None or mine is None or given is None or not right.shape == mine.shape != ():
        return False
    if given.ndim == 0 or any(array.dtype == bool for array in (right, mine, given)):
        return False
    try:
        other = np.broadcast_to(combined(right.astype(float), given.astype(float)), mine.shape)
    except ValueError:  # of another shape
        return False
    return np.allclose(other, mine, rtol=1e-4, atol=1e-6, equal_nan=True) and explains(other, mine, right)


def _of_parts(exercise: Exercise, wrong: list[_Wrong]) -> str:
    """The same of each part of a result that is wrong in some case."""
    first = wrong[0].expected
    labels: list[Hashable] = (
        list(first) if isinstance(first, dict) and all(isinstance(one, str) for one in first) else []
    )
    if isinstance(first, tuple) and len(first) < 5:
        labels = list(range(len(first)))
    said = []
    for label in labels:
        parts: Any = [_Wrong(_part(one.expected, label), _part(one.got, label), one.case) for one in wrong]
        differing = [one for one in parts if _differ(one.expected, one.got)]
        if differing:
            sentence = _of(exercise, differing)
            if not sentence:
                return ""
            said.append(f"`result[{label}]`: {sentence}" if isinstance(label, int) else f"{label}: {sentence}")
    return " ".join(said[:2])


def _part(value: Any, label: Any) -> Any:
    return value[label]


def _differ(expected: Any, got: Any) -> bool:
    try:
        return difference(expected, got) is not None
    except Exception:  # of another type
        return True
