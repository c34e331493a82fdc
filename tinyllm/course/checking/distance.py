"""How far two results are apart, so that what explains a small error can be told from what is merely as near."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from tinyllm.course.checking.comparing import plain

_SHARE = 0.1  # of the error, which may be as small as ten times the rounding of float32


def explains(other: Any, got: Any, expected: Any) -> bool:
    """Whether a wrong result is much nearer to another one than to the right one.

    Two results that are alike but for rounding may both be near to a third: with another eps, say. And much ends in NaN
    or in an overflow: where all that is wrong is one of these, nothing explains it.
    """
    return _is_seen(expected, got) and distance(other, got) <= _SHARE * distance(expected, got)


def _is_seen(expected: Any, got: Any) -> bool:
    """Whether anything that is wrong is neither NaN nor an overflow. Minus infinity stands for what is cut."""
    right, mine = list(numbers_in(expected)), list(numbers_in(got))
    if len(right) != len(mine):
        return not mine or any(number < math.inf for number in mine)
    wrong = [number for number, other in zip(mine, right, strict=True) if number != other]
    return not wrong or any(number < math.inf for number in wrong)


def distance(one: Any, other: Any) -> float:
    """The largest difference between two numbers in the same place, as a share of their size; infinite without such."""
    first, second = np.array(list(numbers_in(one)), float), np.array(list(numbers_in(other)), float)
    if first.shape != second.shape or not first.size:
        return 0.0 if _unlike_numbers_alike(one, other) else np.inf
    with np.errstate(all="ignore"):
        apart = np.abs(first - second) / (1e-30 + np.abs(first) + np.abs(second))
    apart = np.where((first == second) | (np.isnan(first) & np.isnan(second)), 0, apart)
    return float(np.where(np.isnan(apart), np.inf, apart).max())


def _unlike_numbers_alike(one: Any, other: Any) -> bool:
    try:
        return bool(plain(one) == plain(other))
    except Exception:  # whatever an answer's own object raises when it is compared
        return False


def numbers_in(value: Any) -> Iterator[float]:
    """All numbers of a value; those of a dict in the order of its keys as texts."""
    value = plain(value) if isinstance(value, Tensor | np.ndarray | np.generic) else value
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value, key=repr)]
    if isinstance(value, list | tuple):
        for item in value:
            yield from numbers_in(item)
    elif isinstance(value, bool | int | float):
        yield float(value)


def shape_of(value: Any) -> Any:
    """What a value is made of, with a 0 for each number: two of one shape have their numbers in the same places."""
    value = plain(value) if isinstance(value, Tensor | np.ndarray | np.generic) else value
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shape_of(item) for item in value]
    return 0 if isinstance(value, int | float) and not isinstance(value, bool) else value
