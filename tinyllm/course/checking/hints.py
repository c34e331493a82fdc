"""What can be said of a wrong answer whose mistake has no name: where it is right, and how its results are related."""

from tinyllm.course.checking.case_features import features, what_separates
from tinyllm.course.checking.comparing import plain
from tinyllm.course.checking.diagnosis import Judged, same
from tinyllm.course.checking.registry import Exercise
from tinyllm.course.checking.relations import relations


def advice(exercise: Exercise, judged: list[Judged]) -> str:
    """One or two sentences, each computed from all cases and true of all of them; "" if there is nothing to say."""
    try:
        return " ".join(filter(None, [_relation(exercise, judged), _where(exercise, judged)]))
    except Exception:  # whatever an answer's own object raises when it is looked at
        return ""


def _relation(exercise: Exercise, judged: list[Judged]) -> str:
    """The first sentence that holds in every wrong case with a value."""
    values = [one.got.value for one in judged if one.got.error is None]
    if len(values) > 2 and all(same(value, values[0]) for value in values):
        return "Your result is the same in every case: does it use its arguments?"
    wrong = [one for one in judged if one.fault and one.got.error is None and one.got.value is not None]
    if not wrong or (len(wrong) == 1 and not hasattr(plain(wrong[0].expected.value), "__len__")):
        return ""  # a single number is always some number times another
    held = [relations(one.expected.value, one.got.value, features(exercise.case_parameters, one.case)) for one in wrong]
    return next((sentence for sentence in held[0] if all(sentence in others for others in held)), "")


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
