"""What may set a case apart from the others: sizes, lengths and values of its arguments, by the reference's names."""

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from torch import Tensor

from tinyllm.course.checking.registry import Case

Features = dict[str, float]


def features(parameters: Mapping[str, Parameter], case: Case) -> Features:
    """Sizes by the letters of the parameters' shapes, `len(ids)`, numbers and truth values by their names."""
    found: Features = {}
    left_out = [parameter.default for parameter in list(parameters.values())[len(case) :]]
    for (name, parameter), value in zip(parameters.items(), (*case, *left_out), strict=True):
        if isinstance(value, Tensor):
            found |= _sizes(parameter.annotation, name, value)
        elif isinstance(value, bool | int | float):
            found[name] = value
        elif isinstance(value, list | tuple | dict | str | bytes):
            found[f"len({name})"] = len(value)
            if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
                found[f"max({name})"] = max(value)
    return found


def _sizes(annotation: Any, name: str, tensor: Tensor) -> Features:
    """Only plain letters count: not "t+1" or "*N"."""
    letters = str(getattr(annotation, "dim_str", "")).split()
    if len(letters) != tensor.dim() or any(not letter.isidentifier() for letter in letters):
        return {f"{name}.dim()": tensor.dim(), f"{name}.numel()": tensor.numel()}
    return {letter: size for letter, size in zip(letters, tensor.shape, strict=True) if letter != "_"}


def what_separates(right: list[Features], wrong: list[Features]) -> list[str]:
    """Which single facts hold in every wrong case and in no right one: "B > 1", "p = 0", "k = V"."""
    right, wrong = _different(right), _different(wrong)
    if not right or not wrong:
        return []
    names = [name for name in wrong[0] if all(name in one for one in right + wrong)]
    found = []
    for name in names:
        good, bad = [one[name] for one in right], [one[name] for one in wrong]
        if len(set(bad)) == 1 and bad[0] not in good and (len(bad) > 1 or bad[0] in (0, 1)):
            found.append(f"{name} = {_number(bad[0])}")
        elif any(isinstance(value, float) for value in good + bad) and min(len(good), len(bad)) < 3:
            continue  # numbers drawn at random are apart by chance
        elif name.startswith("max(") or (len(set(good)) < 3 and not set(good) <= {0, 1}):
            continue  # one or two sizes that are nothing special, and what is drawn, are at an end by chance
        elif min(bad) > max(good):
            found.append(f"{name} > {_number(max(good))}")
        elif max(bad) < min(good):
            found.append(f"{name} < {_number(min(good))}")
    for name in names:
        for other in names[names.index(name) + 1 :]:
            if isinstance(wrong[0][name], bool) or isinstance(wrong[0][other], bool):
                continue  # True equals 1, which says nothing
            if all(one[name] == one[other] for one in wrong) and all(one[name] != one[other] for one in right):
                found.append(f"{name} = {other}")
    return found


def _different(found: list[Features]) -> list[Features]:
    """Each once: a case of fixed sizes that is drawn twice says no more than one."""
    return list({repr(one): one for one in found}.values())


def _number(value: float) -> str:
    return str(value) if isinstance(value, bool) else f"{value:.4g}"
