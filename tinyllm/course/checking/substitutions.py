"""Wrong results that are right ones of other arguments: two exchanged, one fixed, doubled, in another order."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from operator import mul
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from tinyllm.course.checking.registry import Case, Exercise, Function
from tinyllm.course.checking.transformations import FUNCTIONS, TRANSFORMATIONS

Change = Callable[[Case], Case]


def substitutions(exercise: Exercise, answer: Function, case: Case) -> Iterator[tuple[str, Change]]:
    """Changes to a case's arguments, each with what to say if the reference then gives the answer's results."""
    names = list(exercise.case_parameters)[: len(case)]
    numbers = _numbers_in(answer)
    for index, (name, value) in enumerate(zip(names, case, strict=True)):
        if isinstance(value, bool):
            yield f"You get the right result for `{name}` turned round.", _with(index, lambda old: not old)
        elif isinstance(value, int | float):
            yield from _fixed(index, name, exercise, numbers)
        for sentence, change in _PARTS if isinstance(value, int | float | Tensor | list | dict | bytes) else ():
            yield sentence.format(f"`{name}`"), _with(index, change)
    yield from _together(names, case)
    yield from _two_fixed(names, case, [number for number in numbers if isinstance(number, float)])
    for (i, one), (j, other) in itertools.combinations(enumerate(names), 2):
        if _alike(case[i], case[j]):
            yield f"You get the right result with `{one}` and `{other}` exchanged.", _moved((i, j), (j, i))
            yield f"You get the right result with `{other}` in place of `{one}`.", _moved((i,), (j,))
            yield f"You get the right result with `{one}` in place of `{other}`.", _moved((j,), (i,))


def _with(index: int, change: Callable[[Any], Any]) -> Change:
    return lambda case: (*case[:index], change(case[index]), *case[index + 1 :])


def _always(number: float) -> Callable[[Any], Any]:
    return lambda _: number


def _replaced(new: dict[int, float]) -> Change:
    return lambda case: tuple(new.get(index, old) for index, old in enumerate(case))


def _moved(to: tuple[int, ...], source: tuple[int, ...]) -> Change:
    moves = dict(zip(to, source, strict=True))
    return lambda case: tuple(case[moves.get(index, index)] for index in range(len(case)))


def _fixed(index: int, name: str, exercise: Exercise, numbers: list[float]) -> Iterator[tuple[str, Change]]:
    default = exercise.case_parameters[name].default
    given = [default] if isinstance(default, int | float) else []
    for number in dict.fromkeys([*given, *numbers]):
        sentence = f"You get the right result for `{name}` = {number:g}, whatever `{name}` is: use the argument."
        yield sentence, _with(index, _always(number))
    for number in numbers:
        yield f"You get the right result for `{name}`, but at most {number:g}.", _with(index, partial(min, number))
        yield f"You get the right result for `{name}`, but at least {number:g}.", _with(index, partial(max, number))
        if number not in (0, 1):
            yield f"You get the right result for {number:g} times `{name}`.", _with(index, partial(mul, number))


def _together(names: list[str], case: Case) -> Iterator[tuple[str, Change]]:
    """Lists that belong together, such as sizes and losses, all changed in the same way."""
    places = [index for index, value in enumerate(case) if isinstance(value, list)]
    if len(places) < 2 or len({len(case[index]) for index in places}) > 1:
        return
    what = " and ".join(f"`{names[index]}`" for index in places)
    for sentence, change in _PARTS:
        yield sentence.format(what), _all_with(places, change)


def _all_with(places: list[int], change: Callable[[Any], Any]) -> Change:
    return lambda case: tuple(change(value) if index in places else value for index, value in enumerate(case))


def _two_fixed(names: list[str], case: Case, numbers: list[float]) -> Iterator[tuple[str, Change]]:
    """Such as both betas of an optimizer."""
    places = [index for index, value in enumerate(case) if isinstance(value, float)]
    for (i, j), (a, b) in itertools.product(itertools.combinations(places, 2), itertools.permutations(numbers[:5], 2)):
        sentence = f"You get the right result for `{names[i]}` = {a:g} and `{names[j]}` = {b:g}, whatever they are."
        yield sentence, _replaced({i: a, j: b})


def _numbers_in(answer: Function) -> list[float]:
    """The numbers in the code of an answer, which may stand where an argument belongs."""
    found: list[float] = []
    waiting = [getattr(answer, "__code__", None)]
    while waiting:
        code = waiting.pop()
        if isinstance(code, CodeType):
            waiting += code.co_consts
            found += [one for one in code.co_consts if type(one) in (int, float)]
    return list(dict.fromkeys([*found, 0, 1]))[:12]


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype
    return type(one) is type(other) and not isinstance(one, bool | str)


def _not(value: Any) -> Any:
    return ~value if isinstance(value, Tensor) and value.dtype == torch.bool else value


def _once(value: Any) -> Any:
    return list({repr(item): item for item in value}.values()) if isinstance(value, list) else value


_PARTS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    *((f"You get the right result for {words}.", FUNCTIONS[name]) for words, name in TRANSFORMATIONS.items()),
    ("You get the right result for {} with True and False exchanged.", _not),
    ("You get the right result for {} with each item once: repeated ones count too.", _once),
)
