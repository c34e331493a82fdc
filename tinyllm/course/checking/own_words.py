"""Sentences about the course's own code in words that a learner knows, whose code has other names."""

import inspect
import re
from types import CodeType
from typing import Any


def names_in(function: Any) -> set[str]:
    """The variables that a function makes or is given, and those of the functions in it."""
    found: set[str] = set()
    waiting = [getattr(inspect.unwrap(function), "__code__", None)]
    while waiting:
        code = waiting.pop()
        if isinstance(code, CodeType):
            waiting += code.co_consts
            found |= {*code.co_varnames, *code.co_cellvars}
    return found


def without_names(sentence: str, names: set[str]) -> str:
    """The sentence with "an intermediate result" for each quoted piece of code that contains one of these names."""

    def told(quoted: re.Match[str]) -> str:
        return "an intermediate result" if names & set(re.findall(r"[^\W\d]\w*", quoted[1])) else quoted[0]

    return re.sub("`([^`]*)`", told, sentence)
