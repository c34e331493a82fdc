"""What can be said of a wrong answer whose mistake is not on the list, from its results alone.

`relation` names what is wrong, or says nothing; `advice` says at least where.
"""

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from tinyllm.course.checking.case_features import features, what_separates
from tinyllm.course.checking.comparing import difference, plain
from tinyllm.course.checking.diagnosis import Judged, same
from tinyllm.course.checking.laws import Pair, law
from tinyllm.course.checking.registry import Exercise
from tinyllm.course.checking.relations import Place, array_of, relations
from tinyllm.course.checking.showing import show
from tinyllm.course.checking.trials import Trial


def relation(exercise: Exercise, judged: list[Judged]) -> str:
    """What is wrong with the results: a sentence that holds in every wrong case; "" if none does."""
    if any(one.got.error is not None for one in judged):
        return ""
    if exercise.draws:  # what is measured is settled before it is compared; what is computed need not be
        judged = [replace(one, expected=_as_returned(one.expected), got=_as_returned(one.got)) for one in judged]
    try:
        sentence = _same_everywhere(judged) or _returned(exercise, judged) or _shared(exercise, judged, _whole)
        return sentence or _of_parts(exercise, judged)
    except Exception:  # whatever an answer's own object raises when it is looked at
        return ""


def _as_returned(trial: Trial) -> Trial:
    return replace(trial, value=trial.returned)


def advice(exercise: Exercise, judged: list[Judged]) -> str:
    """Where the results are right and where they are wrong, computed from all cases and true of all of them."""
    try:
        held = [relations(one.expected.value, one.got.value, {}) for one in _wrong(judged)]
        places = [one for one in held[0] if isinstance(one, Place) and all(one in others for others in held)]
        return " ".join(filter(None, [*places[:1], _where(exercise, judged)]))
    except Exception:
        return ""


def boundary(exercise: Exercise, judged: list[Judged]) -> str:
    """The one kind of case, at the edge of what may be given, that alone is wrong or alone is right; "" if none is."""
    right = [features(exercise.case_parameters, one.case) for one in judged if not one.fault]
    wrong = [features(exercise.case_parameters, one.case) for one in judged if one.fault]
    facts = what_separates(right, wrong)
    if len(facts) != 1 or len(right) < 3:
        return ""
    name, sign, edge = facts[0].split(" ", 2)
    if sign == "=" and edge in ("0", "1", "True", "False", *wrong[0]):
        return f"It is right except where {facts[0]}: treat that case as it should be."
    others = {repr({key: size for key, size in one.items() if key != name}) for one in right}
    if sign == ">" and edge in ("0", "1") and len(others) > 2:
        return f"It is right only where {name} = {edge}: what is different about a larger {name}?"
    return ""


def _wrong(judged: list[Judged]) -> list[Judged]:
    """Those with a value."""
    return [one for one in judged if one.fault and one.got.error is None and one.got.value is not None]


def _same_everywhere(judged: list[Judged]) -> str:
    values = [one.got.value for one in judged]
    if len(values) > 2 and all(same(value, values[0]) for value in values):
        return "Your result is the same in every case: does it use its arguments?"
    return ""


def _returned(exercise: Exercise, judged: list[Judged]) -> str:
    """An argument that comes back as it is."""
    wrong = _wrong(judged)
    for index, name in enumerate(exercise.case_parameters):
        if wrong and all(len(one.case) > index and _alike(one.case[index], one.got.value) for one in wrong):
            return f"You return `{name}` as it is."
    return ""


def _alike(one: Any, other: Any) -> bool:
    return hasattr(plain(one), "__len__") and len(one) > 0 and same(one, other)


def _whole(value: Any) -> Any:
    return value


def _shared(exercise: Exercise, judged: list[Judged], part: Any) -> str:
    """A sentence on a part of the results that is true of each wrong one."""
    wrong = [(part(one.expected.value), part(one.got.value), one.case) for one in _wrong(judged)]
    wrong = [one for one in wrong if _differ(*one[:2])]
    if not wrong:
        return ""
    sizes = [features(exercise.case_parameters, case) for _, _, case in wrong]
    pairs = [
        Pair(right, mine, size)
        for (expected, got, _), size in zip(wrong, sizes, strict=True)
        if (right := array_of(expected)) is not None
        and (mine := array_of(got)) is not None
        and _are_numbers(right, mine)
    ]
    if not hasattr(plain(wrong[0][0]), "__len__") and len({show(got) for _, got, _ in wrong}) < 3:
        return ""  # two numbers are always related in some way
    held = [relations(expected, got, size) for (expected, got, _), size in zip(wrong, sizes, strict=True)]
    named = [one for one in held[0] if not isinstance(one, Place) and all(one in others for others in held)]
    return named[0] if named else law(pairs) if len(pairs) == len(wrong) else ""


def _are_numbers(right: Any, mine: Any) -> bool:
    return right.shape == mine.shape and np.bool_ not in (right.dtype, mine.dtype)


def _differ(expected: Any, got: Any) -> bool:
    try:
        return difference(expected, got) is not None
    except Exception:  # of another type
        return True


def _of_parts(exercise: Exercise, judged: list[Judged]) -> str:
    """The same of each part of a result that is wrong in some case."""
    wrong = _wrong(judged)
    first = wrong[0].expected.value if wrong else None
    labels: list[Hashable] = list(first) if isinstance(first, dict) else []
    if isinstance(first, tuple) and len(first) < 5:
        labels = list(range(len(first)))
    said = []
    for label in labels:

        def part(value: Any, label: Any = label) -> Any:
            return value[label]

        if any(_differ(part(one.expected.value), part(one.got.value)) for one in wrong):
            sentence = _shared(exercise, judged, part)
            if not sentence:
                return ""
            said.append(f"`result[{label}]`: {sentence}" if isinstance(label, int) else f"{label}: {sentence}")
    return " ".join(said[:2])


def _where(exercise: Exercise, judged: list[Judged]) -> str:
    right = [index for index, one in enumerate(judged, start=1) if not one.fault]
    wrong = [index for index, one in enumerate(judged, start=1) if one.fault]
    if not right:
        return ""
    found = [features(exercise.case_parameters, one.case) for one in judged]
    facts = what_separates([found[index - 1] for index in right], [found[index - 1] for index in wrong])
    if not facts:
        return f"Right in {len(right)} of {len(judged)} cases."
    also = f" (and {' and '.join(facts[1:3])})" if facts[1:] else ""
    return f"Right in {len(right)} of {len(judged)} cases, wrong where {facts[0]}{also}."
