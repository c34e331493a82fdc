"""Whether results say enough to name what is wrong with them."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from tinyllm.course.checking.comparing import plain
from tinyllm.course.checking.diagnosis import Judged


def tells(wrong: list[Judged]) -> bool:
    """Whether the wrong results say enough: numbers, or at least three."""
    numbers = sum(_count(one.expected.value) for one in wrong)
    return numbers > 2 or (len(wrong) > 2 and not any(_is_truth(one.expected.value) for one in wrong))


def _count(value: Any) -> int:
    if isinstance(value, Tensor | np.ndarray):
        return int(np.prod(value.shape)) if "bool" not in str(value.dtype) else 0
    if isinstance(value, dict):
        return sum(map(_count, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_count, value))
    return int(isinstance(value, float))


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or (
        isinstance(value, dict) and any(isinstance(item, bool) for item in value.values())
    )


def tells_much(wrong: list[Judged]) -> bool:
    """Whether they have so many numbers that nothing else is likely to have them by chance."""
    return sum(_count(one.got.value) for one in wrong) > 7 and not any(_is_truth(one.expected.value) for one in wrong)


def shows(value: Any) -> bool:
    """Whether a difference could be seen in a result: not in NaN, in an overflow or in nothing at all.

    Minus infinity stands for what is cut; beside finite numbers it says as much as these.
    """
    parts = list(leaves(value))
    numbers = [part for part in parts if isinstance(part, int | float)]
    return any(part not in ("", b"", -math.inf) for part in parts) and all(number < math.inf for number in numbers)


def leaves(value: Any) -> Iterator[Any]:
    """What a value is made of, without lists, tuples and dicts; the keys of these too."""
    value = plain(value)
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif value is not None:
        yield value


def where_wrong(sentence: str) -> str:
    """The sentence for an answer of which it is true in the wrong cases only."""
    return f"Where it is wrong, {sentence[0].lower()}{sentence[1:]}"
