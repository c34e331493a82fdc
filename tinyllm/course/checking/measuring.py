"""Exercises whose answer is a number that was measured: any number inside a band is right."""

import math
from typing import Any

from tinyllm.course.checking.registry import Function


def within(share: float, truth: Function) -> Function:
    """What is compared of a measuring exercise: a number at most that share away from `truth` counts as the truth.

    `truth` takes the same arguments as the answer. Pass the result as `observe` of an `@exercise`.
    """

    def observe(function: Function, *arguments: Any) -> Any:
        measured, true = function(*arguments), truth(*arguments)
        try:
            near = math.isclose(float(measured), true, rel_tol=0, abs_tol=share * abs(true))
        except (TypeError, ValueError, RuntimeError):  # not a number: the comparison says what it is
            return measured
        return true if near else measured

    return observe
