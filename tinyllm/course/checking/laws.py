"""A law between all wrong results and the right ones, found by a fit: a factor, a power, a product with arguments."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tinyllm.course.checking.case_features import Features

_DIGITS = 2e-4  # how far a law may be from a result, as a share of it


class Pair(NamedTuple):
    """The right and the wrong result of one case, of one shape, and what the case is made of."""

    right: Float[np.ndarray, "..."]
    mine: Float[np.ndarray, "..."]
    sizes: Features


def law(pairs: list[Pair]) -> str:
    """The plainest law that all pairs obey, in a sentence; "" if there is none, or if too few numbers show it."""
    with np.errstate(all="ignore"):
        x = np.concatenate([pair.right.ravel() for pair in pairs])
        y = np.concatenate([pair.mine.ravel() for pair in pairs])
        shown = np.isfinite(x)
        few = len(set(np.round(x[shown], 9))) < 3 or np.ptp(x[shown]) < 0.01 * np.abs(x[shown]).max()
        if few or not np.array_equal(x[~shown], y[~shown]):
            return ""
        x, y = x[shown], y[shown]
        if not np.isfinite(y).all():
            return ""
        if (np.abs(y - x)[x != y] < 1e-3 * np.abs(x[x != y])).any():  # a small error is near to many laws
            whole = np.array_equal(x, np.round(x)) and np.array_equal(y, np.round(y))
            return next(_amount(pairs), "") if whole else ""  # whole numbers are not rounded: their difference is exact
        return next(itertools.chain(_line(x, y), _power(x, y), _product(pairs)), "")


def _near(one: Float[np.ndarray, " N"], other: Float[np.ndarray, " N"]) -> bool:
    """Whether both are the same but for rounding."""
    return bool(np.isfinite(one).all() and np.allclose(one, other, rtol=_DIGITS, atol=1e-9))


def _line(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> Iterator[str]:
    """A factor, an amount, or both."""
    factor = float(np.median(y[x != 0] / x[x != 0])) if x.any() else 0.0
    if _near(factor * x, y) and abs(factor) > 1e-9:
        sign = np.isclose(factor, -1)
        yield "The sign is wrong: it is the right result times -1." if sign else f"It is {_times(factor)}."
    if _near(y - x, np.full_like(x, amount := float(np.median(y - x)))):
        yield f"It is the right result {_plus(amount)}."
    if len(set(np.round(x, 9))) > 3:
        slope, height = np.polyfit(x, y, 1)
        if _near(slope * x + height, y) and abs(slope) > 1e-6:
            yield f"It is {_times(slope)}, {_plus(height)}."


def _times(factor: float) -> str:
    return f"the right result times {factor:.4g}"


def _plus(amount: float) -> str:
    return f"{'plus' if amount > 0 else 'minus'} {abs(amount):.4g}"


def _power(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> Iterator[str]:
    if len(x) < 4 or not ((x > 0) & (y > 0)).all() or np.ptp(np.log(x)) < 0.1:
        return
    power, start = np.polyfit(np.log(x), np.log(y), 1)
    if _near(np.exp(start) * x**power, y) and abs(power) > 1e-6:
        factor = "" if abs(start) < _DIGITS else f", times {np.exp(start):.4g}"
        yield f"It is the right result to the power {power:.4g}{factor}."


def _product(pairs: list[Pair]) -> Iterator[str]:
    """How the results of a case differ: all by one factor, or by one amount, that is a product of its arguments."""
    sizes = [pair.sizes for pair in pairs]
    ratios = []
    for right, mine, _ in pairs:
        counted = np.isfinite(right) & (np.abs(right) > 1e-9)
        ratios.append(_one_value(mine[counted] / right[counted]))
    if found := monomial(np.array(ratios), sizes):
        yield f"It is the right result times {found}."
    yield from _amount(pairs)
    if all(pair.mine.size == 1 for pair in pairs):
        mine = np.array([pair.mine.item() for pair in pairs])
        if found := monomial(mine, sizes):
            yield f"Your result is {found}: nothing else enters."


def _amount(pairs: list[Pair]) -> Iterator[str]:
    """What is too many or too few in all results of a case: a number, or a product of its arguments."""
    amounts = []
    for right, mine, _ in pairs:
        tiny = (np.abs(mine) < 0.1 * np.abs(right)).any()  # then any amount is near to the right result itself
        amounts.append(np.nan if tiny else _one_value((mine - right)[np.isfinite(right)]))
    if np.isfinite(one := _one_value(np.array(amounts))):
        yield f"It is the right result {_plus(one)}."
    for sign, words in ((1, "plus"), (-1, "minus")):
        if found := monomial(sign * np.array(amounts), [pair.sizes for pair in pairs]):
            yield f"It is the right result {words} {found}."


def _one_value(values: Float[np.ndarray, " N"]) -> float:
    """The value that all of them have; NaN if they differ."""
    return (
        float(np.median(values)) if values.size and _near(values, np.full_like(values, np.median(values))) else np.nan
    )


def monomial(values: Float[np.ndarray, " N"], sizes: list[Features]) -> str:
    """The values as a number times powers of up to three sizes, such as "2 * C / sqrt(T)"; "" if they are not.

    There must be two more cases than sizes, so that the fit can fail; and it must be exact, with powers of halves.
    """
    if not (np.isfinite(values) & (values > 0)).all() or np.ptp(values) < _DIGITS * values.max():
        return ""
    names = [name for name in sizes[0] if all(_positive(one.get(name)) for one in sizes)]
    columns = {name: np.log([float(one[name]) for one in sizes]) for name in names}
    columns = {name: column for name, column in columns.items() if np.ptp(column) > 0}
    for count in (1, 2, 3):
        for chosen in itertools.combinations(columns, count):
            table = np.stack([np.ones(len(values)), *(columns[name] for name in chosen)], axis=1)
            if len(np.unique(np.round(table, 6), axis=0)) < count + 2:
                continue
            (start, *powers), *_ = np.linalg.lstsq(table, np.log(values), rcond=None)
            halves = [round(2 * power) / 2 for power in powers]
            exact = _near(np.exp(start + table[:, 1:] @ np.array(halves)), values)
            if exact and all(halves) and np.linalg.matrix_rank(table) == count + 1:
                return _written(float(np.exp(start)), dict(zip(chosen, halves, strict=True)))
    return ""


def _positive(value: float | None) -> bool:
    return value is not None and not isinstance(value, bool) and value > 0


def _written(factor: float, powers: dict[str, float]) -> str:
    """As one would write it in Python."""
    above = [_factor(name, power) for name, power in powers.items() if power > 0]
    below = [_factor(name, -power) for name, power in powers.items() if power < 0]
    if abs(factor - 1) > _DIGITS or not above:
        above.insert(0, f"{factor:.4g}")
    under = f"({' * '.join(below)})" if len(below) > 1 else "".join(below)
    return " * ".join(above) + (f" / {under}" if below else "")


def _factor(name: str, power: float) -> str:
    if power == 0.5:
        return f"sqrt({name})"
    return name if power == 1 else f"{name} ** {power:g}"
