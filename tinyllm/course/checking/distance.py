"""How far two results are apart, so that what explains a small error can be told from what is merely as near."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from tinyllm.course.checking.comparing import plain

_SHARE = 0.1  # of the error, which may be as small as ten times the rounding of float32


def explains(other: Any, got: Any, expected: Any) -> bool:
    """Whether a wrong result is much nearer to another one than to the right one.

    Two results that are alike but for rounding may both be near to a third: with another eps, say.
    """
    return distance(other, got) <= _SHARE * distance(expected, got)


def distance(one: Any, other: Any) -> float:
    """The largest difference between two numbers in the same place, as a share of their size; infinite without such."""
    first, second = np.array(list(_numbers(one)), float), np.array(list(_numbers(other)), float)
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


def _numbers(value: Any) -> Iterator[float]:
    value = plain(value) if isinstance(value, Tensor | np.ndarray | np.generic) else value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, bool | int | float):
        yield float(value)
