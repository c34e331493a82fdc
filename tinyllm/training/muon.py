"""Muon: momentum, orthogonalised.

Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); Liu et al., "Muon is Scalable
for LLM Training" (2025, the update's size and weight decay).
"""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of x, x^3 and x^5 in a step of Newton-Schulz


def orthogonalise(matrix: Float[Tensor, "*stack M N"]) -> Float[Tensor, "*stack M N"]:
    """Nearly the closest orthogonal matrix: with the SVD U S V^T, U S' V^T, all of S' between about 0.7 and 1.2.

    Newton-Schulz: x -> a x + b x^3 + c x^5 moves every singular value towards 1. It needs no SVD, only products of
    matrices, since (X X^T) X has the same U and V. These coefficients raise small values fastest: five steps are
    enough for all above 0.002 of the norm. By then the larger ones hover around 1, which does no harm. Nor does
    bfloat16, which CUDA multiplies fastest.

    This is the readable form, of one matrix or of a stack. `orthogonalise_stack` computes the same with less work.
    """
    a, b, c = COEFFICIENTS
    x: Tensor = matrix.bfloat16() if matrix.device.type == "cuda" else matrix.float()
    if tall := x.shape[-2] > x.shape[-1]:
        x = x.mT  # so that X X^T is the smaller of the two possible squares
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)  # now no singular value is above 1
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


def orthogonalise_stack(matrices: Float[Tensor, "S M N"]) -> Float[Tensor, "S M N"]:
    """`orthogonalise` of a stack of matrices: all of them in one launch a product, each sum within a product."""
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if matrices.device.type == "cuda" else matrices.float()
    if tall := x.shape[-2] > x.shape[-1]:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


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
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._move(weights, group)
        return loss

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Decay, then one update of all matrices in the weights; those of one shape are orthogonalised together."""
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        pairs: defaultdict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight, update in zip(weights, self._look_ahead(weights, group["momentum"]), strict=True):
            row_sizes = list(group["row_sizes"] or [len(weight)])
            for part, change in zip(torch.split(weight, row_sizes), torch.split(update, row_sizes), strict=True):
                pairs[part.shape].append((part, change))
        for shape, matrices in pairs.items():
            parts, changes = map(list, zip(*matrices, strict=True))
            stack = orthogonalise_stack(torch.stack(changes)).to(parts[0].dtype).contiguous()
            torch._foreach_add_(parts, list(stack.unbind()), alpha=-group["lr"] * 0.2 * math.sqrt(max(shape)))

    def _look_ahead(self, weights: list[Tensor], momentum: float) -> tuple[Tensor, ...]:
        """Nesterov's momentum: the running mean of each gradient, moved once more towards the newest."""
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["mean"] = torch.zeros_like(weight)
        gradients = [weight.grad for weight in weights if weight.grad is not None]  # `step` brings only such
        means = [self.state[weight]["mean"] for weight in weights]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, means, momentum)
