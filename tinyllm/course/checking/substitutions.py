"""Wrong results that are right ones of other arguments: two exchanged, one fixed, doubled, in another order."""

import itertools
from collections.abc import Callable, Iterator
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
    numbers = numbers_of(answer)
    for index, (name, value) in enumerate(zip(names, case, strict=True)):
        if isinstance(value, bool):
            yield f"You get the right result for `{name}` turned round.", _with(index, lambda old: not old)
        elif isinstance(value, int | float):
            yield from _fixed(index, name, exercise, numbers)
        for number in () if isinstance(value, bool) else (one for one in numbers if one not in (0, 1, -1)):
            for words, change in _by_number(value, number):
                yield f"You get the right result for {words.format(f'`{name}`')}.", _with(index, change)
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


def _by_number(value: Any, number: float) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """What a number in the answer's code may do to an argument."""
    if isinstance(value, Tensor) and value.is_floating_point():
        yield f"{{}}, but at most {number:g}", lambda old: old.clamp(max=number)
        yield f"{{}}, but at least {number:g}", lambda old: old.clamp(min=number)
        yield (
            f"{{}}, kept between -{abs(number):g} and {abs(number):g}",
            lambda old: old.clamp(-abs(number), abs(number)),
        )
    elif isinstance(value, int | float):
        yield f"{{}}, but at most {number:g}", lambda old: min(old, number)
        yield f"{{}}, but at least {number:g}", lambda old: max(old, number)
        yield f"{{}} to the power {number:g}", lambda old: old**number
    elif isinstance(value, list) and isinstance(number, int):
        yield f"the first {number} of {{}} alone", lambda old: old[:number]
        yield f"the last {number} of {{}} alone", lambda old: old[-number:]
        return
    if isinstance(value, int | float) or (isinstance(value, Tensor) and value.is_floating_point()):
        yield f"{number:g} times {{}}", lambda old: number * old
        yield f"{{}} divided by {number:g}", lambda old: old / number
        yield f"{{}} plus {number:g}", lambda old: old + number


def _together(names: list[str], case: Case) -> Iterator[tuple[str, Change]]:
    """Lists, tensors or numbers that belong together, such as sizes and losses, all changed in the same way."""
    sizes = [_size(value) for value in case]
    for size in dict.fromkeys(size for size in sizes if size is not None):
        places = [index for index, other in enumerate(sizes) if other == size]
        what = " and ".join(f"`{names[index]}`" for index in places)
        for sentence, change in _PARTS if 1 < len(places) < 4 else ():
            yield sentence.format(what), _all_with(places, change)


def _size(value: Any) -> Any:
    if isinstance(value, float):
        return "a number"
    return len(value) if isinstance(value, list) else getattr(value, "shape", None)


def _all_with(places: list[int], change: Callable[[Any], Any]) -> Change:
    return lambda case: tuple(change(value) if index in places else value for index, value in enumerate(case))


def _two_fixed(names: list[str], case: Case, numbers: list[float]) -> Iterator[tuple[str, Change]]:
    """Such as both betas of an optimizer."""
    places = [index for index, value in enumerate(case) if isinstance(value, float)]
    for (i, j), (a, b) in itertools.product(itertools.combinations(places, 2), itertools.permutations(numbers[:5], 2)):
        sentence = f"You get the right result for `{names[i]}` = {a:g} and `{names[j]}` = {b:g}, whatever they are."
        yield sentence, _replaced({i: a, j: b})


def numbers_of(answer: Function) -> list[float]:
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
    *(
        (f"You get the right result for {words.rstrip(',')}.", FUNCTIONS[name])
        for words, name in TRANSFORMATIONS.items()
    ),
    ("You get the right result for {} with True and False exchanged.", _not),
    ("You get the right result for {} with each item once: repeated ones count too.", _once),
)
