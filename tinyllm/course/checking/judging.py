"""How an answer is judged: on cases drawn just now, beside the reference's results."""

import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

from tinyllm.course.checking import trials
from tinyllm.course.checking.diagnosis import Judged, diagnose, diagnose_where_wrong
from tinyllm.course.checking.explaining import Likeness, like_other_arguments, like_other_code
from tinyllm.course.checking.faults import Fault, Kind, narrow_fault, side_effect, value_fault
from tinyllm.course.checking.hints import advice, boundary
from tinyllm.course.checking.random_state import own_random_state
from tinyllm.course.checking.registry import Case, Exercise, Function, find_exercise
from tinyllm.course.checking.results import relation
from tinyllm.course.checking.showing import kind_of, show, show_printed
from tinyllm.course.checking.telling import tells_much, where_wrong
from tinyllm.course.checking.trials import try_answer, try_reference
from tinyllm.course.checking.unused import unused_argument
from tinyllm.course.checking.variants import default_float64, in_float64, not_contiguous
from tinyllm.course.checking.watching import seeded


@dataclass(frozen=True)
class Verdict:
    """What became of an answer. `unusable`: nothing that can be compared came back."""

    kind: Kind
    message: str
    diagnosis: str = ""


def examine(name: str, answer: Function) -> Verdict:
    """Judge an answer. Nothing it does, and nothing its result does, is raised here, except a keyboard interrupt."""
    exercise = find_exercise(name)
    try:
        return _examine(name, exercise, answer)
    except ReferenceFailed:
        raise
    except BaseException as error:  # an object that raises when it is looked at may come back in any place
        if isinstance(error, KeyboardInterrupt):
            raise
        return Verdict(
            "unusable", f"{name}: your result cannot be judged: looking at it raises {type(error).__name__}."
        )


class ReferenceFailed(Exception):
    """The course's own answer raised: the exercise is at fault, or this installation."""


class _Patience:
    """The time that an answer may still take, in all its calls together: false when none is left."""

    def __init__(self) -> None:
        self._left = trials.WHOLE

    def __bool__(self) -> bool:
        return self._left > 0

    def __enter__(self) -> None:
        self._left += time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._left -= time.monotonic()


def _examine(name: str, exercise: Exercise, answer: Function) -> Verdict:
    if not callable(answer):
        function = exercise.reference.__name__
        return Verdict("unusable", f"{name}: give the function itself, {function}, not {kind_of(answer)}.")
    patience = _Patience()
    with own_random_state():
        cases = exercise.cases()
        judged = list(_judge_cases(exercise, answer, cases, patience))
        if any(one.fault for one in judged):
            return _wrong(name, exercise, answer, judged, patience)
        if len(judged) < len(cases):
            sentence = f"right in {len(judged)} of {len(cases)} cases, which took {trials.WHOLE:g} seconds and more."
            return Verdict("timed out", f"{name}: {sentence} The rest was not tried: find a faster way.")
        return _judge_further(name, exercise, answer, judged, patience)


def _wrong(name: str, exercise: Exercise, answer: Function, judged: list[Judged], patience: _Patience) -> Verdict:
    """The verdict on an answer that is wrong in some case, with what is wrong about it."""
    index, fault = next((index, one.fault) for index, one in enumerate(judged) if one.fault)
    if fault.kind == "not attempted" and index == 0:
        return Verdict(fault.kind, f"{name}: not attempted yet. Replace `raise NotImplementedError` with your answer.")
    if fault.kind == "not attempted":
        fault = fault._replace(kind="raised")
    diagnosis = diagnose(exercise, judged)
    if not diagnosis and fault.named:
        return _verdict(name, exercise, judged, index, fault, diagnosis=fault.sentence)
    if not diagnosis and not judged[-1].got.timed_out:
        judged += _judge_cases(exercise, answer, exercise.cases(), patience)  # more cases tell what is so by chance
        diagnosis = _naming(exercise, answer, judged)
    return _verdict(name, exercise, judged, index, fault, diagnosis or advice(exercise, judged), diagnosis)


def _naming(exercise: Exercise, answer: Function, judged: list[Judged]) -> str:
    """What is wrong with an answer whose mistake is not on the list, in a sentence; "" if nothing is found."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from variations of the reference, which are none of the learner's
            return _found(exercise, answer, judged)
    except Exception:  # whatever an answer's own object raises when it is looked at
        return ""


def _found(exercise: Exercise, answer: Function, judged: list[Judged]) -> str:
    if found := relation(exercise, judged):
        return found
    arguments = like_other_arguments(exercise, answer, judged)
    code = Likeness() if arguments.everywhere else like_other_code(exercise, answer, judged)
    if arguments.everywhere or code.everywhere:
        return arguments.everywhere or code.everywhere
    known = diagnose_where_wrong(exercise, judged) if tells_much([one for one in judged if one.fault]) else ""
    return (
        (where_wrong(known) if known else "")
        or arguments.where_wrong
        or code.where_wrong
        or unused_argument(exercise, answer, judged)
        or boundary(exercise, judged)
    )


def _judge_cases(exercise: Exercise, answer: Function, cases: list[Case], patience: _Patience) -> Iterator[Judged]:
    """Each case's verdict on its value. An answer is called once a case, and not again once it did not end.

    What comes when the patience has ended is left out. `cases` are drawn before: an answer may set the seed.
    """
    for case in cases:
        if not patience:
            return
        expected = try_reference(exercise, case)
        if expected.error is not None:
            raise ReferenceFailed(repr(expected.error)) from expected.error
        with patience:
            got = try_answer(exercise, answer, case, expected)
        fault = value_fault(expected, got, answer)
        yield Judged(case, expected, got, fault)
        if got.timed_out or (fault and fault.kind == "not attempted"):
            return


def _judge_further(
    name: str, exercise: Exercise, answer: Function, judged: list[Judged], patience: _Patience
) -> Verdict:
    """What else is asked of an answer whose values are right in every case."""
    for index, one in enumerate(judged):
        if fault := side_effect(one.expected, one.got) or _later_change(one, answer):
            diagnosis = diagnose(exercise, judged, side_effects=True)
            return _verdict(name, exercise, judged, index, fault, diagnosis, diagnosis or fault.sentence)
    again = list(_judge_cases(exercise, answer, exercise.cases(), patience))
    wrong = [one for one in again if one.fault]
    if wrong and (2 * len(wrong) <= len(again) or again[-1].got.timed_out):  # chance had spared it
        return _wrong(name, exercise, answer, judged + again, patience)
    if wrong and wrong[0].fault:  # nearly all are, in cases of the same sizes as before: something is left over
        fault = wrong[0].fault.after("right at first; then, called with other numbers of the same sizes")
        return _verdict(name, exercise, [wrong[0]], 0, fault, diagnosis=fault.sentence)
    if fault := _seeds(exercise, answer, judged[0]):
        return _verdict(name, exercise, judged, 0, fault, diagnosis=fault.sentence)
    for variant, form, context in _VARIANTS:
        for index, one in enumerate(judged):
            with context():
                fault = _judge_variant(exercise, answer, variant(one.case), patience)
            if fault:
                fault = fault.after(form)
                return _verdict(name, exercise, judged, index, fault, diagnosis=fault.sentence)
    printed = show_printed("In case 1 it printed:", judged[0].got.printed)
    return Verdict("correct", f"{name}: correct, on {len(judged)} cases drawn just now.{printed}")


_VARIANTS = (
    (in_float64, "in float64", default_float64),
    (not_contiguous, "once its tensors are not contiguous, as after a transpose", nullcontext),
)


def _seeds(exercise: Exercise, answer: Function, one: Judged) -> Fault | None:
    """Whether an answer that may draw seeds what it draws from: a second call says so."""
    if not one.got.draws or not any("generator" in change for change in one.expected.global_changes):
        return None
    again = try_answer(exercise, answer, one.case, one.expected)
    if again.draws:
        again.global_changes |= seeded([one.got.draws[-1], again.draws[-1]])
    return side_effect(one.expected, again)


def _judge_variant(exercise: Exercise, answer: Function, case: Case | None, patience: _Patience) -> Fault | None:
    """What is wrong with a case in another form; nothing where the reference cannot compute with it either."""
    expected = try_reference(exercise, case) if case and patience else None
    if case is None or expected is None or expected.error is not None:
        return None
    with patience:
        got = try_answer(exercise, answer, case, expected)
    fault = value_fault(expected, got, answer) or narrow_fault(expected, got)
    # Refusing to mix float32 with float64 is no silent error: `mask.float() @ x` is a fine answer.
    return None if fault and fault.kind == "raised" and "dtype" in str(got.error) else fault


def _later_change(one: Judged, answer: Function) -> Fault | None:
    """Whether a later call has changed the result of this one."""
    if value_fault(one.expected, one.got, answer):
        return Fault("wrong", "a later call changes the result of an earlier one. Make a new one in each call.")
    return None


def _verdict(
    name: str, exercise: Exercise, judged: list[Judged], index: int, fault: Fault, advice: str = "", diagnosis: str = ""
) -> Verdict:
    sentences = ("\n" if "\n" in fault.sentence else " ").join(filter(None, [fault.sentence, advice]))
    case = judged[index].case
    given = f"Case {index + 1} of {len(judged)}:{_show_arguments(exercise, case)}"
    printed = show_printed("  printed:", judged[index].got.printed)
    return Verdict(fault.kind, f"{name}: {sentences}\n{given}{fault.results}{printed}", diagnosis)


def _show_arguments(exercise: Exercise, arguments: Case) -> str:
    named = zip(exercise.case_parameters, arguments, strict=False)  # a default may be left out
    return "".join(f"\n  {name} = {show(value)}" for name, value in named)
