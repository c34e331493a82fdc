"""How an answer is judged: on cases drawn just now, beside the reference's results.

An exercise is its reference function, registered by `@exercise` in the chapter's module; its name is
"<chapter>.<function>". What learners usually get wrong there stands below it: functions that make the mistake,
registered by `@mistake`. An answer whose results are those of a mistake, in every case, has made that mistake.
"""

import ast
import copy
import importlib
import inspect
import random
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from tinyllm.course.checking.comparing import Unusable, difference, kind_of, same, show
from tinyllm.course.checking.records import record, recorded
from tinyllm.system.validation import near_names

CHAPTERS = {  # each with its notebook's number
    "tokenization": 1, "data": 2, "attention": 3, "block": 4, "gpt": 5, "training": 6, "sampling": 7, "modern": 9,
    "inside": 10, "clinic": 11, "scaling": 12,
}  # fmt: skip
EXERCISES: dict[str, "Exercise"] = {}


@dataclass(frozen=True)
class Exercise:
    """A reference, the cases it is compared on, and what of a call is compared (its result, as a rule)."""

    reference: Callable
    cases: Callable[[], list[tuple]]
    observe: Callable
    hint: str
    why: str
    mistakes: list[tuple[Callable, str]] = field(default_factory=list)  # each with its diagnosis


@dataclass(frozen=True)
class Verdict:
    """What became of an answer. `unusable`: nothing that can be compared came back."""

    kind: Literal["not attempted", "correct", "wrong", "raised", "unusable"]
    message: str
    diagnosis: str = ""


def call(function: Callable, *arguments: Any) -> Any:
    """What most exercises compare: the result."""
    return function(*arguments)


def exercise(
    cases: Callable[[], list[tuple]], hint: str, why: str, observe: Callable = call
) -> Callable[[Callable], Callable]:
    """Register a reference.

    Args:
        cases: draws the arguments of each case; it may use the global random state.
        hint: what to think of next; it does not give the answer away.
        why: shown below the solution: why it is done so.
        observe: called with a function and a case's arguments; returns what is compared.
    """

    def register(reference: Callable) -> Callable:
        EXERCISES[_name(reference)] = Exercise(reference, cases, observe, hint, why)
        return reference

    return register


def mistake(reference: Callable, diagnosis: str) -> Callable[[Callable], Callable]:
    """Register a function that goes wrong in the exercise `reference` as learners do, and what to tell them."""

    def register(function: Callable) -> Callable:
        EXERCISES[_name(reference)].mistakes.append((function, diagnosis))
        return function

    return register


def _name(reference: Callable) -> str:
    chapter = reference.__module__.rpartition(".")[2].partition("_")[2]  # of a module such as ch03_attention
    return f"{chapter}.{reference.__name__}"


def check(name: str, answer: Callable) -> None:
    """Compare your function with the reference, on cases drawn just now, and print the verdict.

    Raises ValueError, with near names, for a name that no exercise has.
    """
    verdict = examine(name, answer)
    record(name, verdict.kind, verdict.diagnosis)
    print(verdict.message)


def hint(name: str) -> None:
    """Print what to think of next. Raises ValueError, with near names, for a name that no exercise has."""
    print(f"{name}: {find_exercise(name).hint}")


def solution(name: str, now: bool = False) -> None:
    """Print the reference and why it is done so, after one attempt; with `now=True` without one.

    Raises ValueError, with near names, for a name that no exercise has.
    """
    found = find_exercise(name)
    if not now and name not in recorded():
        print(f"{name}: try it once, and check it. Or see it at once with solution({name!r}, now=True).")
    else:
        print(f"{source_of(found.reference)}\n\nWhy: {found.why}")


def source_of(reference: Callable) -> str:
    """A reference as a learner would write it: without the decorator."""
    source = inspect.getsource(reference)
    function = ast.parse(source).body[0]
    return "\n".join(source.splitlines()[function.lineno - 1 :])


def examine(name: str, answer: Callable) -> Verdict:
    """Judge an answer. Nothing it does is raised here, except a keyboard interrupt."""
    exercise = find_exercise(name)
    if not callable(answer):
        function = exercise.reference.__name__
        return Verdict("unusable", f"{name}: give the function itself, {function}, not {kind_of(answer)}.")
    with own_random_state():
        cases = exercise.cases()  # all of them now: an answer may set the seed
        for number, arguments in enumerate(cases, start=1):
            expected = exercise.observe(exercise.reference, *copy.deepcopy(arguments))
            kind, fault, result = _compare(exercise, expected, answer, arguments)
            if kind == "not attempted" and number == 1:
                return Verdict(
                    kind, f"{name}: not attempted yet. Replace `raise NotImplementedError` with your answer."
                )
            if kind != "correct":
                diagnosis = _diagnosis(exercise, cases, answer)
                given = f"\nCase {number} of {len(cases)}:{_show_arguments(exercise.reference, arguments)}"
                sentences = ("\n" if "\n" in fault else " ").join(filter(None, [fault, diagnosis]))
                kind = "raised" if kind == "not attempted" else kind
                return Verdict(kind, f"{name}: {sentences}{given}{result}", diagnosis)
    return Verdict("correct", f"{name}: correct, on {len(cases)} cases drawn just now.")


def _compare(exercise: Exercise, expected: Any, answer: Callable, arguments: tuple) -> tuple[str, str, str]:
    """One case: (kind of verdict, what is at fault in a sentence, expected and got below the arguments)."""
    try:
        got = exercise.observe(answer, *copy.deepcopy(arguments))
        where = difference(expected, got)
        shown = show(got)
    except Unusable as error:
        return "unusable", str(error), ""
    except (Exception, SystemExit) as error:
        # PyTorch raises NotImplementedError too, for a type it cannot compute with, but says so in a message.
        stub = isinstance(error, NotImplementedError) and not error.args
        return "not attempted" if stub else "raised", f"your code raised {_show_error(error)}", ""
    if not where:
        return "correct", "", ""
    place = "" if where == "result" else f"\n  first difference: {where}"
    return "wrong", "not right yet.", f"\n  expected: {show(expected)}\n  got: {shown}{place}"


def _diagnosis(exercise: Exercise, cases: list[tuple], answer: Callable) -> str:
    """What is known of a wrong answer: the first mistake that has its results in every case; "" for none."""
    outcomes = [_outcome(exercise, answer, case) for case in cases]
    for function, diagnosis in exercise.mistakes:
        if all(
            same(_outcome(exercise, function, case), outcome) for case, outcome in zip(cases, outcomes, strict=True)
        ):
            return diagnosis
    return ""


def _outcome(exercise: Exercise, function: Callable, arguments: tuple) -> Any:
    """What is compared of a call, or the error it ended in."""
    try:
        return exercise.observe(function, *copy.deepcopy(arguments))
    except (Exception, SystemExit) as error:
        return error


def find_exercise(name: str) -> Exercise:
    """An exercise by its name. Raises ValueError, with near names, for another."""
    chapter = str(name).partition(".")[0]
    load_chapters(chapter if chapter in CHAPTERS else None)  # an unknown one: all of them, to name what is near
    if name not in EXERCISES:
        raise ValueError(f"unknown exercise {name!r}{near_names(str(name), EXERCISES)}")
    return EXERCISES[name]


def load_chapters(only: str | None = None) -> None:
    """Register the exercises of one chapter, or of all."""
    for chapter in CHAPTERS:
        if only in (None, chapter):
            importlib.import_module(f"tinyllm.course.exercises.ch{CHAPTERS[chapter]:02d}_{chapter}")


@contextmanager
def own_random_state() -> Iterator[None]:
    """New random numbers inside; outside, those that would have come anyway."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed()
            np.random.seed()
            torch.default_generator.seed()
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _show_arguments(reference: Callable, arguments: tuple) -> str:
    named = zip(inspect.signature(reference).parameters, arguments, strict=False)  # a default may be left out
    return "".join(f"\n  {name} = {show(value)}" for name, value in named)


def _show_error(error: BaseException) -> str:
    """An error's type and message, and the last line of the learner's own code on the way to it."""
    text = textwrap.shorten(" ".join(traceback.format_exception_only(error)), 240, placeholder=" ...")
    ours = (Path(__file__).parent, Path(__file__).parent.parent / "exercises")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent not in ours]
    if not frames:  # the call itself failed, or a built-in function was given
        return text
    theirs = [frame for frame in frames if frame.filename == frames[0].filename]
    return f"{text}\n  in line {theirs[-1].lineno}: {theirs[-1].line}"
