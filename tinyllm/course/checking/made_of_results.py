"""What may be made of a right result by one step too many, or one too few, at the end."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

Array = Float[np.ndarray, "..."]

_FUNCTIONS: tuple[tuple[Callable[[Array], Array], str], ...] = (
    (np.exp, "It is exp of the right result: a logarithm is missing at the end."),
    (np.log, "It is the logarithm of the right result."),
    (lambda x: 1 / x, "It is 1 over the right result: numerator and denominator are exchanged."),
    (np.square, "It is the square of the right result: a root is missing."),
    (np.sqrt, "It is the root of the right result."),
    (lambda x: 1 - x, "It is 1 minus the right result."),
    (np.abs, "It is the right result without its signs."),
    (lambda x: np.maximum(x, 0), "It is the right result, but 0 where that is negative."),
    (lambda x: np.minimum(x, 1), "It is the right result, but at most 1."),
    (np.tanh, "It is tanh of the right result."),
    (np.floor, "It is the right result rounded down: use / in place of //, or round()."),
    (np.ceil, "It is the right result rounded up."),
    (np.round, "It is the right result, rounded."),
    (lambda x: np.round(x, 1), "It is the right result, rounded to one decimal."),
    (lambda x: np.round(x, 2), "It is the right result, rounded to two decimals."),
)
_OF_ROWS: tuple[tuple[Callable[[Array], Array], str], ...] = (
    (lambda x: _softmax(x), "It is the softmax of the right result."),
    (lambda x: np.log(_softmax(x)), "It is the logarithm of the softmax of the right result."),
    (lambda x: x / np.sqrt((x * x).sum(-1, keepdims=True)), "It is the right result, each row divided by its length."),
    (lambda x: x / x.sum(-1, keepdims=True), "It is the right result, each row divided by its sum."),
    (lambda x: x / x.max(-1, keepdims=True), "It is the right result, each row divided by its largest."),
    (lambda x: x - x.mean(-1, keepdims=True), "It is the right result, each row without its mean."),
    (lambda x: np.sort(x, -1), "It is the right result, each row sorted."),
    (lambda x: np.sort(x, -1)[..., ::-1], "It is the right result, each row sorted, the largest first."),
    (
        lambda x: (x == x.max(-1, keepdims=True)).astype(float),
        "It is 1 at the largest of each row of the right result, and 0 elsewhere.",
    ),
)
_ALONG: tuple[tuple[Callable[..., Array], str], ...] = (
    (np.mean, "Along dimension {} each value is the mean of the right ones."),
    (np.sum, "Along dimension {} each value is the sum of the right ones."),
    (np.max, "Along dimension {} each value is the largest of the right ones."),
    (lambda x, axis, keepdims: np.take(x, [0], axis), "Along dimension {} each value is the first of the right ones."),
    (lambda x, axis, keepdims: np.take(x, [-1], axis), "Along dimension {} each value is the last of the right ones."),
    (lambda x, axis, keepdims: np.cumsum(x, axis), "Along dimension {} the right values are summed up, one by one."),
)


def made_of(right: Array) -> Iterator[tuple[Array, str]]:
    """Other results of the same shape, each with a sentence on what it is."""
    for function, words in _FUNCTIONS:
        yield np.asarray(function(right)), words
    if right.size < 3:
        return
    for function, words in _OF_ROWS if right.ndim else ():
        yield np.asarray(function(right)), words
    for axis in range(right.ndim):
        for along, words in _ALONG if right.shape[axis] > 1 else ():
            yield np.broadcast_to(along(right, axis=axis, keepdims=True), right.shape), words.format(axis)


def _softmax(x: Array) -> Array:
    parts: Array = np.exp(x - x.max(-1, keepdims=True))
    total: Array = parts.sum(-1, keepdims=True)
    shares: Array = parts / total
    return shares
