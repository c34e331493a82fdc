"""What an exercise is, and the table of all of them.

An exercise is its reference, a function or a class, registered by `@exercise` in its chapter's module; its name is
"<chapter>.<function>". What learners usually get wrong is in the module beside it: functions that make the mistake,
registered by `mistake`. A third module has right answers in other words, registered by `form`.
"""

import ast
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from tinyllm.system.validation import near_names

Function = Callable[..., Any]  # a reference, an answer or a mistake
Case = tuple[Any, ...]  # the arguments of one call
F = TypeVar("F", bound=Function)

CHAPTERS = {  # each with its notebook's number
    "tokenization": "01", "data": "02", "attention": "03", "block": "04", "gpt": "05", "training": "06",
    "sampling": "07", "wikitext": "08", "modern": "09", "inside": "10", "clinic": "11", "scaling": "12",
    "finetuning": "13", "reinforcement": "14", "backprop": "A2",
}  # fmt: skip
EXERCISES: dict[str, "Exercise"] = {}


@dataclass(frozen=True)
class Exercise:
    """A reference, the cases it is compared on, and what of a call is compared (its result, as a rule)."""

    reference: Function
    cases: Callable[[], list[Case]]
    observe: Function
    hint: str
    why: str
    mistakes: list[tuple[Function, str]] = field(default_factory=list)  # each with its diagnosis
    forms: list[Function] = field(default_factory=list)  # other right answers, step by step
    gradients: bool = True
    draws: bool = False

    @property
    def case_parameters(self) -> dict[str, inspect.Parameter]:
        """What a case is made of: the reference's parameters, or those of an `observe` that makes them of others."""
        parameters = dict(inspect.signature(self.reference).parameters)
        _, *own = inspect.signature(self.observe).parameters.items()
        if any(parameter.kind is parameter.VAR_POSITIONAL for _, parameter in own):  # hands them on, as `call` does
            return parameters
        return {name: parameters.get(name, parameter) for name, parameter in own}


class Observed(NamedTuple):
    """What an `observe` may return: what is compared with the reference, and what only tells mistakes apart."""

    value: Any
    clues: Any


def call(function: Function, *arguments: Any) -> Any:
    """What most exercises compare: the result."""
    return function(*arguments)


def exercise(
    cases: Callable[[], list[Case]],
    hint: str,
    why: str,
    observe: Function = call,
    gradients: bool = True,
    draws: bool = False,
) -> Callable[[F], F]:
    """Register a reference.

    Args:
        cases: draws the arguments of each case; it may use the global random state.
        hint: what to think of next; it does not give the answer away.
        why: printed below the solution: why it is done this way.
        observe: called with a function and a case's arguments; returns what is compared. It may call the function
            several times, and return `Observed` with clues, which are compared with those of mistakes only.
        gradients: whether an answer must carry gradients wherever the reference does. Not where no model trains
            through the result, so that `@torch.no_grad()` is as good.
        draws: whether an answer may draw random numbers, to measure what the reference computes.
    """

    def register(reference: F) -> F:
        EXERCISES[_name(reference)] = Exercise(reference, cases, observe, hint, why, gradients=gradients, draws=draws)
        return reference

    return register


def mistake(reference: Function, diagnosis: str, function: Function | None = None) -> Callable[[F], F]:
    """Register a function that goes wrong in the exercise `reference` as learners do, and what to tell them.

    A mistake that is one expression is passed as a lambda; a longer one is decorated.
    """

    def register(function: F) -> F:
        EXERCISES[_name(reference)].mistakes.append((function, diagnosis))
        return function

    if function is not None:
        register(function)
    return register


def form(reference: Function) -> Callable[[F], F]:
    """Register the answer to an exercise in other words: one slip in these is looked for too.

    Best with many small steps, where the reference leaves them to one function of a library.
    """

    def register(function: F) -> F:
        EXERCISES[_name(reference)].forms.append(function)
        return function

    return register


def _name(reference: Function) -> str:
    chapter = reference.__module__.rpartition(".")[2].partition("_")[2]  # of a module such as ch03_attention
    return f"{chapter}.{reference.__name__}"


def find_exercise(name: str) -> Exercise:
    """An exercise by its name. Raises ValueError, with near names, for an unknown one."""
    chapter = str(name).partition(".")[0]
    load_chapters(chapter if chapter in CHAPTERS else None)  # an unknown one: all of them, to suggest near names
    if name not in EXERCISES:
        raise ValueError(f"unknown exercise {name!r}{near_names(str(name), EXERCISES)}")
    return EXERCISES[name]


def load_chapters(only: str | None = None) -> None:
    """Register the exercises of one chapter, or of all, and then their mistakes and other forms."""
    for chapter, number in CHAPTERS.items():
        if only in (None, chapter):
            module = f"tinyllm.course.exercises.ch{number}_{chapter}"
            importlib.import_module(module)
            importlib.import_module(f"{module}_mistakes")
            importlib.import_module(f"{module}_forms")


def source_of(reference: Function) -> str:
    """A reference as a learner would write it: without the decorator."""
    source = inspect.getsource(reference)
    function = ast.parse(source).body[0]
    return "\n".join(source.splitlines()[function.lineno - 1 :])
