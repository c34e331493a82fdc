"""Muon: momentum, orthogonalised.

Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); Liu et al., "Muon is Scalable
for LLM Training" (2025, the update's size and weight decay).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def orthogonalise(matrix: Float[Tensor, "M N"]) -> Float[Tensor, "M N"]:
    """Nearly the closest orthogonal matrix: with the SVD U S V^T, U S' V^T, all of S' between about 0.7 and 1.2.

    Newton-Schulz: x -> a x + b x^3 + c x^5 moves every singular value towards 1. It needs no SVD, only products of
    matrices, since (X X^T) X has the same U and V. These coefficients raise small values fastest: five steps are
    enough for all above 0.002 of the norm. By then the larger ones hover around 1, which does no harm. Nor does
    bfloat16, which CUDA multiplies fastest.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16() if matrix.device.type == "cuda" else matrix.float()
    if tall := len(matrix) > matrix.shape[1]:
        x = x.T  # so that X X^T is the smaller of the two possible squares
    norm: Tensor = torch.linalg.vector_norm(x)
    x = x / norm.clamp(min=1e-7)  # now no singular value is above 1
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: a matrix moves by the same amount in every direction open to it.

    Otherwise a gradient's few largest singular values drown out the many small ones. The update is scaled by
    0.2 sqrt(longer side): its entries are then about as large as AdamW's, so one learning rate and weight decay serve
    both.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float = 0.95):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "row_sizes": None})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch has overloads
        """Move each matrix that has a gradient; returns what `closure` does."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)
        return loss

    def _move(self, weight: Float[Tensor, "M N"], gradient: Float[Tensor, "M N"], group: dict[str, Any]) -> None:
        """Decay, then one update of each of the matrices that the weight consists of (one, if `row_sizes` is None)."""
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        update = self._look_ahead(weight, gradient, group["momentum"])
        row_sizes = list(group["row_sizes"] or [len(weight)])
        for part, change in zip(torch.split(weight, row_sizes), torch.split(update, row_sizes), strict=True):
            scale = 0.2 * math.sqrt(max(change.shape))
            part.add_(orthogonalise(change).to(part.dtype), alpha=-group["lr"] * scale)

    def _look_ahead(
        self, weight: Float[Tensor, "M N"], gradient: Float[Tensor, "M N"], momentum: float
    ) -> Float[Tensor, "M N"]:
        """Nesterov's momentum: the running mean of the gradients, moved once more towards the newest."""
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean = state["mean"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)
