"""How an answer is judged: on cases drawn just now, beside the reference's results."""

import copy
import inspect
import textwrap
import traceback
from dataclasses import dataclass
from types import CodeType
from typing import Any, Literal, NamedTuple

from tinyllm.course.checking.comparing import Unusable, difference
from tinyllm.course.checking.diagnosis import diagnose
from tinyllm.course.checking.random_state import own_random_state
from tinyllm.course.checking.registry import Case, Exercise, Function, find_exercise
from tinyllm.course.checking.showing import kind_of, show

Kind = Literal["not attempted", "correct", "wrong", "raised", "unusable"]


@dataclass(frozen=True)
class Verdict:
    """What became of an answer. `unusable`: nothing that can be compared came back."""

    kind: Kind
    message: str
    diagnosis: str = ""


def examine(name: str, answer: Function) -> Verdict:
    """Judge an answer. Nothing it does is raised here, except a keyboard interrupt."""
    exercise = find_exercise(name)
    if not callable(answer):
        function = exercise.reference.__name__
        return Verdict("unusable", f"{name}: give the function itself, {function}, not {kind_of(answer)}.")
    with own_random_state():
        cases = exercise.cases()  # all of them now: an answer may set the seed
        for index, arguments in enumerate(cases):
            outcome = _try_case(exercise, answer, arguments)
            if outcome.kind == "not attempted" and index == 0:
                return Verdict(
                    outcome.kind, f"{name}: not attempted yet. Replace `raise NotImplementedError` with your answer."
                )
            if outcome.kind != "correct":
                diagnosis = diagnose(exercise, cases, answer)
                sentences = ("\n" if "\n" in outcome.fault else " ").join(filter(None, [outcome.fault, diagnosis]))
                given = f"Case {index + 1} of {len(cases)}:{_show_arguments(exercise.reference, arguments)}"
                kind = "raised" if outcome.kind == "not attempted" else outcome.kind
                return Verdict(kind, f"{name}: {sentences}\n{given}{outcome.results}", diagnosis)
    return Verdict("correct", f"{name}: correct, on {len(cases)} cases drawn just now.")


class _Outcome(NamedTuple):
    """One case of an answer: what is at fault, in a sentence, and the lines that show expected and got."""

    kind: Kind
    fault: str = ""
    results: str = ""


def _try_case(exercise: Exercise, answer: Function, arguments: Case) -> _Outcome:
    expected: Any = exercise.observe(exercise.reference, *copy.deepcopy(arguments))
    try:
        got = exercise.observe(answer, *copy.deepcopy(arguments))
        where = difference(expected, got)
        shown = show(got)
    except Unusable as error:
        return _Outcome("unusable", str(error))
    except (Exception, SystemExit) as error:
        # PyTorch raises NotImplementedError too, for a type it cannot compute with, but says so in a message.
        stub = isinstance(error, NotImplementedError) and not error.args
        return _Outcome("not attempted" if stub else "raised", f"your code raised {_show_error(error, answer)}")
    if not where:
        return _Outcome("correct")
    position = "" if where == "result" else f"\n  first difference: {where}"
    return _Outcome("wrong", "not right yet.", f"\n  expected: {show(expected)}\n  got: {shown}{position}")


def _show_arguments(reference: Function, arguments: Case) -> str:
    named = zip(inspect.signature(reference).parameters, arguments, strict=False)  # a default may be left out
    return "".join(f"\n  {name} = {show(value)}" for name, value in named)


def _show_error(error: BaseException, answer: Function) -> str:
    """An error's type and message, and the last line of the learner's own code on the way to it."""
    text = textwrap.shorten(" ".join(traceback.format_exception_only(error)), 240, placeholder=" ...")
    code = getattr(getattr(answer, "__wrapped__", answer), "__code__", None)  # a built-in function has none
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if isinstance(code, CodeType) and frame.filename == code.co_filename]
    if not theirs:  # the call itself failed
        return text
    return f"{text}\n  in line {theirs[-1].lineno}: {theirs[-1].line}"
