"""Checks of settings that people choose; each error says which values are allowed."""

import difflib
import sys
from collections.abc import Iterable
from typing import Any

LARGEST = sys.float_info.max  # a bound that also excludes infinity, and integers too large for a float


def require(condition: bool, name: str, value: object, wanted: str) -> None:
    """Raise ValueError, naming the setting, unless the condition holds."""
    if not condition:
        raise ValueError(f"{name} must be {wanted}, not {value!r}")


def plain(value: object) -> object:
    """The Python number in a scalar of numpy or torch; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _plain_field(config: object, name: str) -> Any:
    """The field's value, from now on a plain one, so that nothing that reads it need know of numpy or torch."""
    value = getattr(config, name)
    if (number := plain(value)) is not value:
        object.__setattr__(config, name, number)
    return number


def is_whole(value: object) -> bool:
    """Whether the value is an integer; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def require_whole(config: object, least: int, most: int, *names: str) -> None:
    """Each named field must be an integer within bounds."""
    for name in names:
        value = _plain_field(config, name)
        require(is_whole(value) and least <= value <= most, name, value, f"a whole number from {least} to {most:,}")


def require_seed(config: object, name: str) -> None:
    """The field must be a seed that every random generator accepts."""
    value = _plain_field(config, name)
    require(is_whole(value) and 0 <= value < 2**63, name, value, "a whole number from 0 to below 2**63")


def require_number(config: object, least: float, most: float, *names: str) -> None:
    """Each named field must be an integer or a float within bounds."""
    for name in names:
        value = _plain_field(config, name)
        is_number = is_whole(value) or isinstance(value, float)
        bounds = f"between {least} and {most}" if most < LARGEST else f"of {least} or more"
        require(is_number and least <= value <= most, name, value, f"a number {bounds}")


def require_positive(config: object, *names: str, most: float = LARGEST) -> None:
    """Each named field must be a number above 0 and at most `most`."""
    require_number(config, 0, most, *names)
    for name in names:
        value = getattr(config, name)
        require(value > 0, name, value, "above 0")


def require_choice(config: object, name: str, choices: Iterable[object]) -> None:
    """The field must be one of the choices."""
    value = getattr(config, name)
    require(value in tuple(choices), name, value, "one of " + ", ".join(map(repr, choices)))


def require_flag(config: object, *names: str) -> None:
    """Each named field must be True or False."""
    for name in names:
        value = _plain_field(config, name)
        require(isinstance(value, bool), name, value, "True or False")


def near_names(name: str, known: Iterable[str]) -> str:
    """The end of an error message: ': did you mean ...?', or the whole list if no known name is close."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f": did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(known)}"
