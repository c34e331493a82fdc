"""Causal attention with dropout on a CPU, where PyTorch 2.13 has a fused kernel only for attention without dropout.

PyTorch's fallback computes every pair of tokens, even those the mask hides, and keeps four (T, T) matrices per head
until the backward pass. Here a block of queries at a time meets only the keys up to its last query, and the backward
pass recomputes the weights: only which of them were dropped is kept. Source: Dao et al., "FlashAttention" (2022).
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

ROWS = 64  # queries in a block


def dropout_attention(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"], v: Float[Tensor, "B H T D"], dropout: float
) -> Float[Tensor, "B H T D"]:
    """Compute `F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)`."""
    result: Tensor = _DropoutAttention.apply(q, k, v, dropout)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return result


class _DropoutAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
        ctx.dropout, kept, outputs = dropout, [], []
        for start in range(0, q.shape[2], ROWS):
            weights, _, values = _rows(q, k, v, start)
            kept.append(torch.empty_like(weights, dtype=torch.bool).bernoulli_(1 - dropout))
            outputs.append(weights.mul_(kept[-1]) @ values)
        ctx.save_for_backward(q, k, v, *kept)
        return torch.cat(outputs, dim=2) / (1 - dropout)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, *kept = ctx.saved_tensors
        grad_q, grad_k, grad_v = (torch.zeros_like(x) for x in (q, k, v))
        grad = grad / (1 - ctx.dropout)
        for index, keep in enumerate(kept):
            start = index * ROWS
            weights, keys, values = _rows(q, k, v, start)
            rows, seen = slice(start, start + ROWS), slice(keep.shape[3])
            grad_v[:, :, seen] += (weights * keep).mT @ grad[:, :, rows]
            grad_weights = (grad[:, :, rows] @ values.mT).mul_(keep)
            # Backward through softmax: subtract the mean of each row's gradients, weighted by the weights themselves.
            grad_scores = grad_weights.sub_((weights * grad_weights).sum(-1, keepdim=True)).mul_(weights)
            grad_scores /= math.sqrt(q.shape[3])
            grad_q[:, :, rows] = grad_scores @ keys
            grad_k[:, :, seen] += grad_scores.mT @ q[:, :, rows]
        return grad_q, grad_k, grad_v, None


def _rows(q: Tensor, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
    """The attention weights of the block of queries from `start` on, and the keys and values it attends to."""
    queries = q[:, :, start : start + ROWS]
    end = start + queries.shape[2]
    keys, values = k[:, :, :end], v[:, :, :end]
    scores = (queries @ keys.mT).div_(math.sqrt(q.shape[3]))
    hidden = torch.ones(scores.shape[2:], dtype=torch.bool, device=q.device).triu_(start + 1)
    return scores.masked_fill_(hidden, -math.inf).softmax(-1), keys, values
