"""Cross-entropy that never holds the logits of a whole batch.

For 4,096 tokens and GPT-2's vocabulary the logits alone are 4096 x 50257 x 4 bytes = 823 MB, and their gradient
as much again. Here a chunk of rows at a time makes its logits, its loss and, in the same pass, its gradients.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 512  # rows whose logits are held at once
THRESHOLD = 1 << 24  # logits; below this one matrix is held, which is simpler and as fast


def cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log softmax(hidden @ weight.T)[target], in nats.

    Shapes: hidden (N, C), weight (V, C), targets (N) -> scalar. Equal to `F.cross_entropy` of the logits, in value
    and gradient, also under autocast.
    """
    if len(hidden) * len(weight) < THRESHOLD:
        return F.cross_entropy(F.linear(hidden, weight).float(), targets)
    if not torch.is_grad_enabled():
        return token_losses(hidden, weight, targets).mean()
    return _ChunkedCrossEntropy.apply(hidden, weight, targets)


def token_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """-log p of each target, in nats, without gradients. Shapes as in `cross_entropy` -> (N)."""
    chunks = zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True)
    return torch.cat([F.cross_entropy(F.linear(h, weight).float(), t, reduction="none") for h, t in chunks])


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The gradient of cross-entropy by a logit is softmax - one-hot: known as soon as the logits are."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        hidden_cast, weight_cast = hidden.to(dtype), weight.to(dtype)
        loss = torch.zeros((), device=hidden.device)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight)
        with torch.autocast(device, enabled=False):
            for start in range(0, len(hidden), CHUNK):
                rows = slice(start, start + CHUNK)
                target = targets[rows, None]
                log_p = F.log_softmax((hidden_cast[rows] @ weight_cast.T).float(), dim=-1)  # (rows, V)
                loss -= log_p.gather(1, target).sum()
                grad = log_p.exp_().scatter_add_(1, target, torch.full_like(target, -1, dtype=log_p.dtype))
                grad = grad.to(dtype)
                grad_hidden[rows] = grad @ weight_cast
                if dtype == grad_weight.dtype:
                    grad_weight.addmm_(grad.T, hidden_cast[rows])  # a tenth faster than product, then sum
                else:
                    grad_weight += grad.T @ hidden_cast[rows]
        # Divided by the number of rows only now: in float16 the small quotients would vanish.
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.rows = len(hidden)
        return loss / len(hidden)

    @staticmethod
    def backward(ctx, grad_loss: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grad_loss / ctx.rows
        return grad_hidden * scale, grad_weight * scale, None
