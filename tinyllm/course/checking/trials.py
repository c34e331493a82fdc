"""One case of an answer: what comes back, what the call does besides, and the gradients through its result."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tinyllm.course.checking.deadline import Deadline, OutOfTime
from tinyllm.course.checking.registry import Case, Exercise, Function, Observed
from tinyllm.course.checking.watching import Draw, Heard, Watched, generator_names, global_settings, restore

SECONDS = 10.0  # for one call of an answer
WHOLE = 60.0  # for all calls of one case, and for all cases of one check
_PATIENCE = 600.0  # for the reference, which may be the first to import something large


@dataclass
class Trial:
    """What one case of a function ended in: a value that is compared, or an error."""

    value: Any = None
    clues: Any = None
    returned: Any = None
    """What the last call gave back, where `value` is what was made of it for comparing."""
    error: BaseException | None = None
    changed: set[str] = field(default_factory=set)
    global_changes: set[str] = field(default_factory=set)
    gradients: dict[str, Tensor | None] | None = None
    """With respect to each floating-point input; None where they were not asked for or no result carries them."""
    backward_error: BaseException | None = None
    """What going backward through a result raised. The value is that of a call without gradients then."""
    draws: list[Draw] = field(default_factory=list)
    printed: str = ""
    """By the first call, or by all of the case if the first printed nothing."""

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped."""
        return isinstance(self.error, OutOfTime)


def try_case(
    exercise: Exercise, function: Function, case: Case, gradients: bool = False, seconds: float | None = None
) -> Trial:
    """Call a function on a copy of a case's arguments. Raises nothing but a keyboard interrupt.

    Args:
        gradients: whether the tensors it is given require gradients, as they do inside a model.
        seconds: for one call; without it, long for the reference and `SECONDS` for others.
    """
    names = list(inspect.signature(exercise.reference).parameters)
    arguments, inputs = copy.deepcopy(tuple(map(_own_numbers, case))), dict[str, Tensor]()
    if gradients:
        arguments, inputs = _requiring_gradients(names, arguments)
    is_reference = function is exercise.reference
    limit = Deadline(seconds or (_PATIENCE if is_reference else SECONDS), _PATIENCE if is_reference else WHOLE)
    watched = Watched(function, names, limit.restart)
    trial = Trial(changed=watched.changed, global_changes=watched.global_changes, draws=watched.draws)
    settings = global_settings()
    try:
        with redirect_stdout(Heard()) as heard, limit:
            value = exercise.observe(watched, *arguments)
            if gradients:
                try:
                    trial.gradients = _gradients(watched.results[-1], inputs)
                except Exception as error:
                    trial.backward_error = error
        trial.value, trial.clues = value if isinstance(value, Observed) else (value, None)
        trial.returned = watched.results[-1] if watched.results else None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, and whatever else an answer may raise
        trial.error = error
    finally:
        restore(settings)
        trial.printed = watched.printed or heard.getvalue()
    return trial


def try_reference(exercise: Exercise, case: Case) -> Trial:
    """The reference's result; with gradients if the exercise asks for them and its result carries any."""
    if exercise.gradients and any(_is_float(argument) for argument in case):
        trial = try_case(exercise, exercise.reference, case, gradients=True)
        if trial.backward_error is not None:  # a mistake of the course's own
            trial.error = trial.backward_error
            return trial
        if trial.error is None and trial.gradients:
            return trial
    trial = try_case(exercise, exercise.reference, case)
    if exercise.draws:
        trial.global_changes |= generator_names()  # so it is no fault if an answer does
    return trial


def try_answer(exercise: Exercise, answer: Function, case: Case, expected: Trial) -> Trial:
    """What an answer makes of a case, called in the way that the reference was."""
    if expected.gradients is None:
        return try_case(exercise, answer, case)
    trial = try_case(exercise, answer, case, gradients=True)
    if trial.error is None or trial.timed_out or isinstance(trial.error, NotImplementedError):
        return trial
    return try_case(exercise, answer, case)  # such as .numpy(), which refuses a tensor that requires gradients


def _own_numbers(value: Any) -> Any:
    """Lists in which no two equal numbers are one object: `is` must not do for ==, as for small numbers it does."""
    if type(value) in (list, tuple):
        return type(value)(map(_own_numbers, value))
    return int(str(value)) if type(value) is int else value


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _requiring_gradients(names: list[str], arguments: Case) -> tuple[Case, dict[str, Tensor]]:
    """The arguments as they would be inside a model, computed from something; and that something, by name."""
    inputs: dict[str, Tensor] = {}
    given = []
    for name, argument in zip(names, arguments, strict=False):
        if _is_float(argument):
            inputs[name] = argument.requires_grad_()
            argument = argument.clone()
        elif isinstance(argument, nn.Module):
            inputs |= {f"{name}.{key}": parameter for key, parameter in argument.named_parameters()}
        given.append(argument)
    return tuple(given), inputs


def _gradients(result: Any, inputs: dict[str, Tensor]) -> dict[str, Tensor | None] | None:
    """Those of a sum with fixed random weights over all numbers of the result."""
    carriers = [tensor for tensor in tensors(result) if tensor.requires_grad]
    if not carriers or not inputs:
        return None
    generator = torch.Generator().manual_seed(0)
    # rand and not randn: the numbers are drawn one by one, so two tensors get those of both stacked into one.
    weighted = [(tensor * (torch.rand(tensor.shape, generator=generator) - 0.5)).sum() for tensor in carriers]
    total = torch.stack([one.double() for one in weighted]).sum()
    found = torch.autograd.grad(total, list(inputs.values()), allow_unused=True)
    return dict(zip(inputs, found, strict=True))


def tensors(value: Any) -> Iterator[Tensor]:
    """Those in a result, which may be one, or a list or tuple of some."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value[:100]:
            if item is not value:
                yield from tensors(item)
