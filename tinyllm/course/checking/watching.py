"""What a call does besides its result: arguments it alters, global settings it changes, random numbers it draws."""

import io
import pickle
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Snapshot = dict[str, Any]  # everything a call may alter, by name: "x", "model.weight", "model.weight.grad"
Draw = tuple[Snapshot, Snapshot]  # the states of the random generators before a call and after it


class Heard(io.StringIO):
    """What is printed, as far as anyone would read it."""

    def write(self, text: str) -> int:
        """Keep a text, or as much of it as there is room for."""
        super().write(text[: _HEARD - self.tell()] if self.tell() < _HEARD else "")
        return len(text)


_HEARD = 2000  # characters


class Watched:
    """A function, and what its calls did: `changed` names what they altered, `results` has what they gave back.

    Args:
        function: what to call.
        names: of its arguments, in order.
        begin: called before each call.
    """

    def __init__(self, function: Callable[..., Any], names: list[str], begin: Callable[[], None] = lambda: None):
        self._function, self._names, self._begin = function, names, begin
        self.changed: set[str] = set()
        self.global_changes: set[str] = set()
        self.results: list[Any] = []
        self.draws: list[Draw] = []
        self.printed = ""
        """By the first call."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """The function's result; what it changed in global settings is put back."""
        given = dict(zip(self._names, arguments, strict=False)) | named
        before, settings, draws = snapshot(given), global_settings(), _generators()
        self._begin()
        first = not self.results
        try:
            result = self._function(*arguments, **named)
        finally:
            if first and isinstance(sys.stdout, Heard):
                self.printed = sys.stdout.getvalue()
            self.global_changes |= _differences(settings, global_settings())
            restore(settings)
            self._note_draws(draws, _generators())
        self.changed |= _differences(before, snapshot(given))
        self.results.append(result)
        return result

    def _note_draws(self, before: Snapshot, after: Snapshot) -> None:
        self.global_changes |= _differences(before, after)
        self.draws.append((before, after))
        self.global_changes |= seeded(self.draws)


def seeded(draws: list[Draw]) -> set[str]:
    """Which generators the last of several equal calls has seeded: they came from different states to the same."""
    *earlier, (before, after) = draws
    return {
        f"the seed of {name}"
        for earlier_before, earlier_after in earlier
        for name in _differences(earlier_before, before) - _differences(earlier_after, after)
    }


def snapshot(arguments: Mapping[str, Any]) -> Snapshot:
    """A copy of all that a call may alter in its arguments."""
    found: Snapshot = {}
    for name, value in arguments.items():
        if isinstance(value, nn.Module):
            found |= _of_module(name, value)
        elif isinstance(value, list | tuple) and value and all(isinstance(item, nn.Module) for item in value):
            found[name] = [id(item) for item in value]
            for index, item in enumerate(value):
                found |= _of_module(f"{name}[{index}]", item)
        elif isinstance(value, torch.optim.Optimizer):
            found[name] = _frozen(value.state_dict())
        else:
            found[name] = _frozen(value)
            if isinstance(value, Tensor) and value.is_leaf:
                found[f"{name}.grad"] = _frozen(value.grad)
    return found


def _of_module(name: str, module: nn.Module) -> Snapshot:
    found: Snapshot = {f"{name}.training": [part.training for part in module.modules()]}
    for key, parameter in module.named_parameters():
        found[f"{name}.{key}"] = _frozen(parameter)
        found[f"{name}.{key}.grad"] = _frozen(parameter.grad)
        found[f"{name}.{key}.requires_grad"] = parameter.requires_grad
    return found | {f"{name}.{key}": _frozen(buffer) for key, buffer in module.named_buffers()}


def _frozen(value: Any, depth: int = 8) -> Any:
    """A copy of a value, as far as it can be altered. Deeper levels than eight are those of a value in itself."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict) and depth:
        return [(_frozen(key, depth - 1), _frozen(item, depth - 1)) for key, item in value.items()]
    if isinstance(value, list | tuple) and depth:
        return [_frozen(item, depth - 1) for item in value]
    return value if isinstance(value, str | bytes | int | float | bool | None) else type(value)


def _differences(before: Snapshot, after: Snapshot) -> set[str]:
    return {name for name in before | after if not _equal(before.get(name), after.get(name))}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and bool(((one == other) | (one != one)).all())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and bool(((one == other) | (one != one)).all())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and bool(one == other or one != one)


_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the gradient mode": (torch.is_grad_enabled, torch._C._set_grad_enabled),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the default device": (torch.get_default_device, torch.set_default_device),
    "the use of deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
}


def global_settings() -> Snapshot:
    """What holds for all of torch."""
    return {name: read() for name, (read, _) in _SETTINGS.items()}


def restore(settings: Snapshot) -> None:
    """Put back what `global_settings` returned."""
    for name, (read, write) in _SETTINGS.items():
        if read() != settings[name]:  # writing alone may take seconds: torch imports its compiler
            write(settings[name])


def generator_names() -> set[str]:
    """What `global_changes` names where random numbers were drawn."""
    return set(_generators())


def _generators() -> Snapshot:
    """Their states, in forms that are compared at once: an answer may be called a hundred times."""
    return {
        "torch's random generator": torch.get_rng_state().numpy().tobytes(),
        "numpy's random generator": pickle.dumps(np.random.get_state(legacy=False)),
        "Python's random generator": random.getstate(),
    }
