"""Muon: momentum, orthogonalised.

Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); Liu et al., "Muon is Scalable
for LLM Training" (2025, the update's size and weight decay).
"""

import math

import torch
from torch import Tensor


def orthogonalise(matrix: Tensor) -> Tensor:
    """Nearly the closest orthogonal matrix: with the SVD U S V^T, U S' V^T, all of S' between about 0.7 and 1.2.

    Newton-Schulz: x -> a x + b x^3 + c x^5 moves every singular value towards 1. It needs no SVD, only products of
    matrices, since (X X^T) X has the same U and V. These coefficients blow small values up fastest: five steps serve
    for all above 0.002 of the norm. The larger ones wander around 1 by then, which does no harm. Nor does bfloat16,
    which CUDA multiplies fastest.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16() if matrix.device.type == "cuda" else matrix.float()
    if tall := len(matrix) > matrix.shape[1]:
        x = x.T  # the smaller of the two possible squares
    x = x / x.norm().clamp(min=1e-7)  # now no singular value is above 1
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: every direction that a matrix could move in is moved in by the same amount.

    A gradient's few largest singular values would drown the many small ones. The update is scaled by 0.2 sqrt(larger
    side): its numbers are then as large as AdamW's usually are, so that one learning rate and weight decay serve both.
    """

    def __init__(self, groups: list[dict], lr: float, momentum: float = 0.95):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "row_sizes": None})

    @torch.no_grad()
    def step(self) -> None:
        """Move each matrix that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    update = self._look_ahead(weight, group["momentum"])
                    sizes = group["row_sizes"] or (len(weight),)
                    for part, change in zip(weight.split(sizes), update.split(sizes), strict=True):
                        scale = 0.2 * math.sqrt(max(change.shape))
                        part.add_(orthogonalise(change).to(part.dtype), alpha=-group["lr"] * scale)

    def _look_ahead(self, weight: Tensor, momentum: float) -> Tensor:
        """Nesterov's: the running mean of the gradients, moved once more towards the newest."""
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean = state["mean"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(mean, momentum)
