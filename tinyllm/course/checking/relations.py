"""How a wrong result is related to the right one: a factor, a shift, another order, a part of it."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from tinyllm.course.checking.case_features import Features
from tinyllm.course.checking.comparing import plain
from tinyllm.course.checking.diagnosis import same
from tinyllm.course.checking.distance import explains
from tinyllm.course.checking.made_of_results import made_of

Array = Shaped[np.ndarray, "..."]


class Place(str):
    """A sentence that says where a result is wrong, and not what is wrong with it."""


class Chance(Place):
    """A sentence that so few numbers may obey by chance. It counts where it holds of more numbers in another case."""


def relations(expected: Any, got: Any, sizes: Features) -> list[str]:
    """All that holds between two results, in sentences, the most telling first."""
    if isinstance(expected, dict):
        return list(_of_dicts(expected, got)) if isinstance(got, dict) else []
    right, mine = array_of(expected), array_of(got)
    if right is not None and mine is not None and right.dtype != bool:
        with np.errstate(all="ignore"):
            return list(_of_arrays(right, mine, sizes))
    if right is not None and mine is not None:
        return list(_of_masks(right, mine))
    return list(_of_sequences(plain(expected), plain(got)))


def array_of(value: Any) -> Array | None:
    """Numbers of a regular shape."""
    if isinstance(value, Tensor):
        value = plain(value.double() if value.dtype == torch.bfloat16 else value)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        return None
    return array if array.dtype.kind in "biuf" and array.size else None


def _close(one: Array, other: Array) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True)


def _of_arrays(right: Array, mine: Array, sizes: Features) -> Iterator[str]:
    if right.shape != mine.shape:
        yield from _of_shapes(right, mine)
        return
    right, mine = right.astype(float), mine.astype(float)
    if _close(right, mine):  # of another type only
        return
    yield from _factors(right, mine, sizes)
    for other, words in made_of(right):
        if _close(other, mine) and explains(other, mine, right):
            yield words
    if right.size > 1:
        offset = (mine - right)[np.isfinite(right)]
        if offset.size > 1 and np.ptp(offset) < 1e-5 * (1 + abs(offset[0])) and abs(offset[0]) > 1e-5:
            yield f"Each value is too {'large' if offset[0] > 0 else 'small'} by {abs(offset[0]):.4g}."
        yield from _orders(right, mine)
        yield from _places(right, mine)


def _factors(right: Array, mine: Array, sizes: Features) -> Iterator[str]:
    counted = np.isfinite(right) & (np.abs(right) > 1e-9)
    if not counted.any() or not _close(np.where(counted, 0, right), np.where(counted, 0, mine)):
        return
    ratios = mine[counted] / right[counted]
    factor = float(np.median(ratios))
    if not np.allclose(ratios, factor, rtol=1e-4) or not math.isfinite(factor) or abs(factor - 1) < 1e-3:
        return
    if not mine[counted].any():
        yield "It is zero everywhere." if counted.all() else "It is zero wherever it should be any other finite number."
        return
    if math.isclose(factor, -1, rel_tol=1e-4):
        yield "The sign is wrong: it is the right result times -1."
    for base in (2, 10):
        if math.isclose(factor, 1 / math.log(base), rel_tol=1e-4):
            yield f"It is in logarithms to the base {base}; take the natural one."
    for name, size in sizes.items():
        if size is True or size is False or size <= 1:
            continue
        for power, words in ((1, name), (0.5, f"the root of {name}"), (2, f"the square of {name}")):
            if math.isclose(factor, size**power, rel_tol=1e-4):
                yield f"It is the right result times {words}: is a division missing, or a sum taken for a mean?"
            if math.isclose(factor, size**-power, rel_tol=1e-4):
                yield f"It is the right result divided by {words}: is a division too many, or a mean taken for a sum?"
    yield f"It is the right result times {factor:.4g}."


def _orders(right: Array, mine: Array) -> Iterator[str]:
    return map(str if right.size > 3 else Chance, _orders_of(right, mine))


def _orders_of(right: Array, mine: Array) -> Iterator[str]:
    if right.ndim >= 2 and _close(np.swapaxes(right, -1, -2), mine):
        yield "It is the right result transposed: rows and columns are exchanged."
    for axis in range(right.ndim):
        along = f" along dimension {axis}" if right.ndim > 1 else ""
        if right.shape[axis] > 1:
            if _close(np.flip(right, axis), mine):
                yield f"It is the right result in reverse order{along}."
            for shift in (1, -1):
                if right.shape[axis] > 2 and _close(np.roll(right, shift, axis), mine):
                    yield f"It is the right result, shifted by one place{along}."
    if right.ndim >= 2 and _close(_sorted_rows(right), _sorted_rows(mine)):
        yield "Its rows are right but stand in another order."
    if _close(np.sort(right, axis=None), np.sort(mine, axis=None)):
        yield "It has the right values in other places."


def _sorted_rows(array: Array) -> Array:
    flat = array.reshape(-1, array.shape[-1])
    return flat[np.lexsort(np.round(flat, 4).T)]


def _places(right: Array, mine: Array) -> Iterator[str]:
    """Where the differences are, if they have a place in common."""
    wrong = ~np.isclose(mine, right, rtol=1e-4, atol=1e-5, equal_nan=True)
    for axis in range(right.ndim):
        others = tuple(other for other in range(right.ndim) if other != axis)
        slices = wrong.any(axis=others)
        name = f"[{', '.join(':' if other != axis else '{}' for other in range(right.ndim))}]"
        if len(slices) > 1 and slices.sum() == 1 and slices[[0, -1]].any():
            only = f"Only {name.format(0 if slices[0] else -1)} is wrong."
            yield only if len(slices) > 2 else Place(only)
        elif len(slices) > 2 and not slices[0] and slices[1:].all():
            yield Place(f"{name.format(0)} is right, and every one after it is wrong.")
    if wrong.ndim >= 2 and wrong.shape[-1] == wrong.shape[-2] and wrong.shape[-1] > 1:
        for k, words in ((1, "above the diagonal"), (-1, "below the diagonal")):
            part = np.triu(wrong, 1) if k == 1 else np.tril(wrong, -1)
            if (part == wrong).all():
                yield f"It is wrong only {words}."
        if (wrong & np.eye(wrong.shape[-1], dtype=bool) == wrong).all():
            yield "It is wrong only on the diagonal."


def _of_shapes(right: Array, mine: Array) -> Iterator[str]:
    if _close(np.squeeze(right), np.squeeze(mine)):
        yield "The values are right; only dimensions of size 1 are too many or missing: squeeze, unsqueeze or keepdim."
    elif right.size == mine.size and right.ndim == mine.ndim <= 5:
        for order in itertools.permutations(range(right.ndim)):
            if _close(np.transpose(right, order), mine):
                yield f"The values are right, with the dimensions in the order {order}: transpose or permute."
    elif right.size == mine.size and _close(right.reshape(-1), mine.reshape(-1)):
        yield "The values are right, in another shape: view or reshape."
    if right.ndim == mine.ndim and right.shape[1:] == mine.shape[1:]:
        yield from _of_lengths(list(right), list(mine))
    for axis in range(right.ndim) if right.ndim == mine.ndim + 1 else ():
        for function, words in _REDUCTIONS:
            if right.shape[axis] > 1 and _close(np.asarray(function(right, axis)), mine):
                yield f"It is {words} of the right result over dimension {axis}."
    for axis in range(mine.ndim) if mine.ndim == right.ndim + 1 else ():
        for function, words in _REDUCTIONS:
            if mine.shape[axis] > 1 and _close(np.asarray(function(mine, axis)), right):
                yield f"The right result is {words} of yours over dimension {axis}."


_REDUCTIONS: tuple[tuple[Callable[[Array, int], Array], str], ...] = (
    (np.sum, "the sum"),
    (np.mean, "the mean"),
    (np.max, "the largest"),
    (np.argmax, "the index of the largest"),
    (lambda x, axis: np.take(x, 0, axis), "the first"),
    (lambda x, axis: np.take(x, -1, axis), "the last"),
)


def _of_masks(right: Array, mine: Array) -> Iterator[str]:
    if right.shape != mine.shape:
        yield from _of_shapes(right, mine)
        return
    mine = mine != 0
    if (mine == right).all():
        return
    if (mine == ~right).all():
        yield "True and False are exchanged."
    if mine.all() or not mine.any():
        yield f"It is {bool(mine.all())} everywhere."
    if right.ndim:
        yield from _orders(right.astype(float), mine.astype(float))
        yield from _places(right.astype(float), mine.astype(float))


def _of_lengths(right: list[Any], mine: list[Any]) -> Iterator[str]:
    less, more = len(mine) < len(right), len(mine) > len(right)
    if less and mine and _alike(right[: len(mine)], mine):
        yield f"Its end is missing: the last {_count(len(right) - len(mine))}."
        yield "Its end is missing."
    if less and mine and _alike(right[-len(mine) :], mine):
        yield f"Its beginning is missing: the first {_count(len(right) - len(mine))}."
        yield "Its beginning is missing."
    if more and right and _alike(mine[: len(right)], right):
        yield f"There is something after the right result: {_count(len(mine) - len(right))} more."
        yield "There is something after the right result."
    if more and right and _alike(mine[-len(right) :], right):
        yield f"There is something before the right result: {_count(len(mine) - len(right))} more."
        yield "There is something before the right result."


_OF_TEXTS: tuple[tuple[Callable[[str], str], str], ...] = (
    (str.strip, "It is the right text without the blanks at its ends."),
    (str.lstrip, "It is the right text without the blanks at its beginning."),
    (str.rstrip, "It is the right text without the blanks at its end."),
    (str.lower, "It is the right text in lower case."),
    (lambda text: " ".join(text.split()), "It is the right text with one space for all its blanks."),
    (lambda text: text.replace(" ", ""), "It is the right text without its spaces."),
    (lambda text: text.replace("\ufffd", ""), "It is the right text without its U+FFFD."),
    (lambda text: text.replace("\ufffd", "?"), "It is the right text with ? for U+FFFD."),
)


def _of_sequences(right: Any, mine: Any) -> Iterator[str]:
    if isinstance(right, str) and isinstance(mine, str):
        yield from (words for change, words in _OF_TEXTS if change(right) == mine != right)
    if isinstance(right, str | bytes) and type(mine) is type(right):
        right, mine = list(right), list(mine)
    if not isinstance(right, list | tuple) or not isinstance(mine, list | tuple):
        return
    of_parts = isinstance(right, tuple)  # each is something else
    right, mine = list(right), list(mine)
    if right and not mine:
        yield "It is empty."
    if len(right) == len(mine) > 1 and not _alike(right, mine):
        if _alike(right[::-1], mine):
            yield "It is in reverse order." if len(right) > 3 else "Its parts are right, in another order."
        elif sorted(map(repr, right)) == sorted(map(repr, mine)):
            yield "It has the right parts, in another order."
        wrong = [index for index, (one, other) in enumerate(zip(right, mine, strict=True)) if not _alike(one, other)]
        if len(right) > 2 and len(wrong) == 1 and wrong[0] in (0, len(right) - 1):
            only = f"Only its {'last' if wrong[0] else 'first'} part is wrong."
            yield Place(only) if of_parts else only
        if len(wrong) < len(right):
            yield Place(f"{len(wrong)} of its {len(right)} parts {'is' if len(wrong) == 1 else 'are'} wrong.")
    yield from _of_lengths(right, mine)


def _of_dicts(right: dict[Any, Any], mine: dict[Any, Any]) -> Iterator[str]:
    missing, extra = right.keys() - mine.keys(), mine.keys() - right.keys()
    turned = {key[::-1] for key in missing if isinstance(key, tuple | str)}
    if missing and turned == extra:
        yield "Its keys are turned round."
    elif missing and not extra:
        yield f"Keys are missing: {_count(len(missing))}."
    elif extra and not missing:
        yield f"It has keys that do not belong there: {_count(len(extra))}."
    shared = [key for key in right if key in mine]
    wrong = [key for key in shared if not _alike(right[key], mine[key])]
    if shared and not wrong and (missing or extra):
        yield f"Some keys {'are missing' if missing else 'do not belong there'}; what is there for the others is right."
    if all(isinstance(key, str) for key in shared):  # what is observed, in words
        yield from (f"It does not hold that {key}." for key in wrong if right[key] is True)
        others = [key for key in wrong if right[key] is not True]
        if 0 < len(others) < min(len(shared), 4):
            yield Place(f"What is wrong: {', '.join(others)}.")
    if wrong and len(wrong) < len(shared):
        are = "is" if len(wrong) == 1 else "are"
        yield Place(f"{len(wrong)} of its values {are} wrong, {len(shared) - len(wrong)} right.")


def _alike(one: Any, other: Any) -> bool:
    try:
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
            return _close(one, other)
        return same(one, other)
    except Exception:
        return False


def _count(number: int) -> str:
    return "one" if number == 1 else str(number)
