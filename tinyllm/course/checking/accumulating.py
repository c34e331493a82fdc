"""What an answer leaves behind that adds up the gradients of micro-batches."""

import numbers
from typing import Any

from torch import Tensor, nn

from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.checking.registry import Function
from tinyllm.course.checking.showing import kind_of


def left_behind(function: Function, model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """What is returned, each gradient, and each weight: no step may be taken."""
    loss = function(model, micro_batches)
    if not isinstance(loss, numbers.Real | Tensor):
        raise Unusable(f"your result is {kind_of(loss)}; it should be the mean loss, a float.")
    left: dict[str, Any] = {"the mean loss": loss.item() if isinstance(loss, Tensor) else float(loss)}
    for name, parameter in model.named_parameters():
        left |= {f"{name}.grad": parameter.grad, name: parameter}
    return left
