"""Whether results say enough to name what is wrong with them."""

from typing import Any

import numpy as np
from torch import Tensor

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


def where_wrong(sentence: str) -> str:
    """The sentence for an answer of which it is true in the wrong cases only."""
    return f"Where it is wrong, {sentence[0].lower()}{sentence[1:]}"
