"""The checker that jaxtyping's import hook calls for each function of the package while the tests run.

It checks, through beartype, every function that has a tensor or an array in its signature: all arguments and the
result, types and shapes. Other functions are left alone: many tests hand them wrong values on purpose, to see what
they say.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

_CONFIGURATION = BeartypeConf(is_pep484_tower=True)  # an int will do where a float is asked for


def check_shapes(function: Callable) -> Callable:
    """The function itself, or with its arguments and result checked."""
    if not any(map(_has_shape, inspect.get_annotations(function).values())):
        return function
    return beartype(conf=_CONFIGURATION)(function)


def _has_shape(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_has_shape, get_args(annotation)))


def modules_with_shapes() -> list[str]:
    """The modules of the package that say shapes. Hooking the others would only make them slow."""
    package = Path(__file__).parent.parent / "tinyllm"
    files = (path for path in package.rglob("*.py") if "from jaxtyping import" in path.read_text(encoding="utf-8"))
    return [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in files]
