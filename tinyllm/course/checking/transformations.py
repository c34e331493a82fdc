"""Functions of one value, whatever it is: what a slip may make of a number, a tensor or a list.

Each raises where it makes no sense, so that no case has its result.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

TRANSFORMATIONS: dict[str, str] = {}  # what to say, with a place for the value's name, and the function's name below
FUNCTIONS: dict[str, Callable[[Any], Any]] = {}


def _transformation(words: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        TRANSFORMATIONS[words] = f"_made_{function.__name__.strip('_')}"
        FUNCTIONS[TRANSFORMATIONS[words]] = function
        return function

    return register


def _number(value: Any) -> Any:
    """A number, or a tensor of numbers."""
    if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        raise TypeError("a truth value is no number")
    if not isinstance(value, int | float | Tensor):
        raise TypeError("not a number")
    return value


def _real(value: Any) -> Any:
    """A number with digits, or a tensor of such numbers."""
    if isinstance(value, Tensor) and not value.is_floating_point():
        raise TypeError("whole numbers")
    return _number(value)


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or not value.dim():
        raise TypeError("not a tensor with dimensions")
    return value


def _floats(value: Any) -> Tensor:
    if not _tensor(value).is_floating_point():
        raise TypeError("no tensor of floating-point numbers")
    return value  # type: ignore[no-any-return]


@_transformation("twice {}")
def _twice(value: Any) -> Any:
    return 2 * _number(value)


@_transformation("half of {}")
def _half(value: Any) -> Any:
    return value // 2 if isinstance(value, int) and value % 2 == 0 else _real(value) / 2


@_transformation("the square of {}")
def _square(value: Any) -> Any:
    return _number(value) * value


@_transformation("the root of {}")
def _root(value: Any) -> Any:
    return _real(value) ** 0.5


@_transformation("-1 times {}")
def _negative(value: Any) -> Any:
    return -_number(value)


@_transformation("{} without its sign")
def _size(value: Any) -> Any:
    return abs(_number(value))


@_transformation("1 over {}")
def _inverse(value: Any) -> Any:
    return 1 / _real(value)


@_transformation("1 - {}")
def _rest(value: Any) -> Any:
    return 1 - _number(value)


@_transformation("{} + 1")
def _more(value: Any) -> Any:
    return _number(value) + 1


@_transformation("{} - 1")
def _less(value: Any) -> Any:
    return _number(value) - 1


@_transformation("0 times {}")
def _zero(value: Any) -> Any:
    return _number(value) * 0


@_transformation("{} to the power 0")
def _one(value: Any) -> Any:
    return _number(value) * 0 + 1


@_transformation("exp of {}")
def _exp(value: Any) -> Any:
    return value.exp() if isinstance(_number(value), Tensor) else math.exp(value)


@_transformation("the logarithm of {}")
def _log(value: Any) -> Any:
    return value.log() if isinstance(_number(value), Tensor) else math.log(value)


@_transformation("{} rounded to whole numbers")
def _rounded(value: Any) -> Any:
    return value.round() if isinstance(_number(value), Tensor) else round(value)


@_transformation("{}, at most 1,")
def _at_most_one(value: Any) -> Any:
    return value.clamp(max=1) if isinstance(_number(value), Tensor) else min(value, 1)


@_transformation("{}, at least 0,")
def _at_least_zero(value: Any) -> Any:
    return value.clamp(min=0) if isinstance(_number(value), Tensor) else max(value, 0)


@_transformation("{}, at least 1,")
def _at_least_one(value: Any) -> Any:
    return value.clamp(min=1) if isinstance(_number(value), Tensor) else max(value, 1)


@_transformation("{} transposed")
def _transposed(value: Any) -> Any:
    return _tensor(value).mT


@_transformation("{} in reverse order")
def _reversed(value: Any) -> Any:
    return value.flip(0) if isinstance(value, Tensor) else value[::-1]


@_transformation("{} in reverse order along its last dimension")
def _mirrored(value: Any) -> Any:
    return _tensor(value).flip(-1)


@_transformation("{} sorted")
def _sorted(value: Any) -> Any:
    return value.sort().values if isinstance(value, Tensor) else type(value)(sorted(value))


@_transformation("{} without its first")
def _tail(value: Any) -> Any:
    return value[1:]


@_transformation("{} without its last")
def _front(value: Any) -> Any:
    return value[:-1]


@_transformation("{} moved on by one along its first dimension")
def _rolled(value: Any) -> Any:
    return value.roll(1, 0) if isinstance(value, Tensor) else value[-1:] + value[:-1]


@_transformation("{} moved on by one along its second dimension")
def _rolled_within(value: Any) -> Any:
    return _tensor(value).roll(1, 1)


@_transformation("the first of {} alone: the others count too")
def _first(value: Any) -> Any:
    return _tensor(value)[:1].expand_as(value) if isinstance(value, Tensor) else value[:1]


@_transformation("the last of {} alone: the others count too")
def _last(value: Any) -> Any:
    return _tensor(value)[-1:].expand_as(value) if isinstance(value, Tensor) else value[-1:]


@_transformation("the mean of all {}")
def _mean(value: Any) -> Any:
    return _floats(value).mean().expand_as(value)


@_transformation("the mean of {} along its last dimension")
def _mean_within(value: Any) -> Any:
    return _floats(value).mean(-1, keepdim=True).expand_as(value)


@_transformation("the mean of {} along its second dimension from the last")
def _mean_across(value: Any) -> Any:
    return _floats(value).mean(-2, keepdim=True).expand_as(value)


@_transformation("{} summed up along its last dimension, step by step,")
def _summed(value: Any) -> Any:
    return _tensor(value).cumsum(-1)


@_transformation("the softmax of {}")
def _softmax(value: Any) -> Any:
    return _floats(value).softmax(-1)


@_transformation("{} divided by its length")
def _normalised(value: Any) -> Any:
    return torch.nn.functional.normalize(_floats(value), dim=-1)


@_transformation("tanh of {}")
def _tanh(value: Any) -> Any:
    return value.tanh() if isinstance(_number(value), Tensor) else math.tanh(value)
