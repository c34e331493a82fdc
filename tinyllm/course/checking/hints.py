"""Where a wrong answer is right and where it is wrong: computed from all cases, and true of all of them."""

from tinyllm.course.checking.case_features import features, what_separates
from tinyllm.course.checking.diagnosis import Judged
from tinyllm.course.checking.registry import Exercise
from tinyllm.course.checking.relations import Chance, Place, relations


def advice(exercise: Exercise, judged: list[Judged]) -> str:
    """Where in a result, and in which cases; "" if there is nothing to say."""
    wrong = [one for one in judged if one.fault and one.got.error is None and one.got.value is not None]
    try:
        held = [relations(one.expected.value, one.got.value, {}) for one in wrong]
        places = [one for one in held[0] if all(one in others for others in held)] if held else []
        told = [one for one in places if isinstance(one, Place) and not isinstance(one, Chance)]
        return " ".join(filter(None, [*told[:1], where(exercise, judged)]))
    except Exception:  # whatever an answer's own object raises when it is looked at
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


def where(exercise: Exercise, judged: list[Judged]) -> str:
    """In how many cases an answer is right, and what sets the wrong ones apart; "" if none is right."""
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
