"""The lines of a patient that its bug is among, about fifteen of them."""

import ast
import difflib
import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from tinyllm.course.clinic.healthy import Training, clip_and_step, token_losses
from tinyllm.course.clinic.patients import healed, patient
from tinyllm.course.clinic.small_text import pad


def lines(number: int) -> str:
    """The part of a patient's code that is not that of its healed form, without types and comments.

    Raises ValueError if there is no such patient.
    """
    return _forms(number)[0]


def cure(number: int) -> str:
    """The lines that healing a patient takes out (-) and puts in (+). Raises ValueError if there is no such patient."""
    ill, well = (form.splitlines() for form in _forms(number))
    changed = [line for line in difflib.ndiff(ill, well) if line[0] in "+-"]
    return "\n".join(line.rstrip() for line in changed)


def _forms(number: int) -> tuple[str, str]:
    """The part that differs, ill and healed."""
    [forms] = [pair for pair in zip(_parts(patient(number)), _parts(healed(number)), strict=True) if pair[0] != pair[1]]
    return forms


def _parts(training: Training) -> list[str]:
    """A training's code in seven parts."""
    model, attention = training.model, training.model.attention
    rated = _code([(Training.build, "build")]).replace("self.rate", str(training.rate))
    parts = [
        [(getattr(attention, name), name) for name in ("forward", "scale", "visible", "drop")],
        [(getattr(model, name), name) for name in ("__init__", "draw_embeddings", "collect", "tie")],
        [(getattr(model, name), name) for name in ("forward", "first_position")],
        [(training.step, "step"), (token_losses, "token_losses"), (clip_and_step, "clip_and_step")],
        [(pad, "pad"), (training.batches, "batches"), (token_losses, "token_losses")],
        [(training.split, "split"), (Training.batch, "batch"), (Training.held_out_loss, "held_out_loss")],
    ]
    return [*map(_code, parts), rated]


def _code(functions: Iterable[tuple[Callable[..., Any], str]]) -> str:
    """Functions as code alone, each under the name given with it."""
    return "\n\n".join(_bare(function, name) for function, name in functions)


def _bare(function: Callable[..., Any], name: str) -> str:
    """One of them: a name of its own, types, comments or a docstring could say what is wrong with it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.name, definition.returns, definition.decorator_list = name, None, []
    for argument in definition.args.args:
        argument.annotation = None
    if ast.get_docstring(definition) is not None:
        del definition.body[0]
    return ast.unparse(tree)
