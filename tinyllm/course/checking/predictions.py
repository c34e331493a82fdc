"""Predict, then measure: questions with a number for an answer, which is measured on this machine."""

import importlib
import inspect
import numbers
import reprlib
from collections.abc import Callable
from dataclasses import dataclass

from tinyllm.course.checking.random_state import own_random_state
from tinyllm.course.checking.saying import say
from tinyllm.system.validation import LARGEST, near_names

PREDICTIONS: dict[str, "Prediction"] = {}


@dataclass(frozen=True)
class Prediction:
    """A question, the unit of its answer, and the function that measures it."""

    question: str
    unit: str
    measure: Callable[[], float]


def prediction(name: str, unit: str) -> Callable[[Callable[[], float]], Callable[[], float]]:
    """Register a function that measures something; its docstring is the question."""

    def register(measure: Callable[[], float]) -> Callable[[], float]:
        PREDICTIONS[name] = Prediction(inspect.getdoc(measure) or "", unit, measure)
        return measure

    return register


def load_questions() -> None:
    """Fill the table of predictions."""
    importlib.import_module("tinyllm.course.checking.measurements")


def predict(name: str, guess: float | None) -> None:
    """Print the question for None. For a number, measure the answer here and print how far apart they are.

    Raises ValueError, with near names, for an unknown name.
    """
    load_questions()
    if name not in PREDICTIONS:
        raise ValueError(f"unknown prediction {name!r}{near_names(str(name), PREDICTIONS)}")
    asked = PREDICTIONS[name]
    if guess is None:
        say(f"{name}: no prediction yet. Put your number in place of None.")
        say(f"{asked.question} ({asked.unit})")
    elif not isinstance(guess, numbers.Real) or isinstance(guess, bool) or not -LARGEST <= guess <= LARGEST:
        say(f"{name}: a prediction is one number, such as 3 or 0.5, not {reprlib.repr(guess)}.")
    else:
        with own_random_state():
            measured = asked.measure()
        say(f"{name}: {_compare(float(guess), measured, asked.unit)}")


def _compare(guess: float, measured: float, unit: str) -> str:
    said, found = f"{guess:.4g}", f"{measured:.4g}"
    if said == found:
        return f"you said {said}, and {found} was measured here ({unit}). Exactly so."
    apart = f"{abs(guess - measured):,.4g}, or {100 * abs(guess / measured - 1):,.3g}%"
    direction = "high" if guess > measured else "low"
    return f"you said {said}, and {found} was measured here ({unit}). Your guess is too {direction} by {apart}."
