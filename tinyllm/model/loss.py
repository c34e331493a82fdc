"""Cross-entropy without the logits of a whole batch in memory.

For 4,096 tokens and GPT-2's vocabulary the logits alone take 4096 x 50257 x 4 bytes = 823 MB, and their gradient
as much again. Here one chunk of rows at a time gets its logits, its loss and, in the same pass, its gradients.

Shapes: N tokens, C embedding_dim, V vocab_size.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

CHUNK = 512  # rows whose logits are in memory at once
THRESHOLD = 1 << 24  # logits; with fewer, a single matrix is simpler and as fast


def softcap(logits: Float[Tensor, "*shape"], bound: float | None) -> Float[Tensor, "*shape"]:
    """bound * tanh(logits / bound): small logits hardly change, large ones stay within the bound. None: no bound."""
    return logits if bound is None else bound * torch.tanh(logits / bound)


def cross_entropy(
    hidden: Float[Tensor, "N C"],
    weight: Float[Tensor, "V C"],
    targets: Int[Tensor, " N"],
    logit_softcap: float | None = None,
) -> Float[Tensor, ""]:
    """The mean of -log softmax(hidden @ weight.T)[target], in nats; the logits go through `softcap` first.

    Equal to `F.cross_entropy` of the logits in value and gradient, also under autocast.
    """
    if len(hidden) * len(weight) < THRESHOLD:
        return F.cross_entropy(softcap(F.linear(hidden, weight).float(), logit_softcap), targets)
    if not torch.is_grad_enabled():
        return token_losses(hidden, weight, targets, logit_softcap).mean()
    loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]  # torch leaves `apply` untyped
        hidden, weight, targets, logit_softcap
    )
    return loss


def token_losses(
    hidden: Float[Tensor, "N C"],
    weight: Float[Tensor, "V C"],
    targets: Int[Tensor, " N"],
    logit_softcap: float | None = None,
) -> Float[Tensor, " N"]:
    """-log p of each target, in nats, without gradients."""
    losses = []
    for h, t in zip(torch.split(hidden, CHUNK), torch.split(targets, CHUNK), strict=True):
        logits = softcap(F.linear(h, weight).float(), logit_softcap)
        losses.append(F.cross_entropy(logits, t, reduction="none"))
    return torch.cat(losses)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The gradient of cross-entropy with respect to the logits is softmax - one-hot: the forward pass knows it already.

    A soft cap multiplies it by the derivative of bound * tanh(x / bound), which is 1 - tanh(x / bound)^2.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, logit_softcap: float | None) -> Tensor:
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
                logits = softcap((hidden_cast[rows] @ weight_cast.T).float(), logit_softcap)  # (rows, V)
                log_p = F.log_softmax(logits, dim=-1)
                loss -= log_p.gather(1, target).sum()
                grad = log_p.exp_().scatter_add_(1, target, torch.full_like(target, -1, dtype=log_p.dtype))
                if logit_softcap is not None:
                    grad *= 1 - (logits / logit_softcap).square_()
                grad = grad.to(dtype)
                grad_hidden[rows] = grad @ weight_cast
                if dtype == grad_weight.dtype:
                    grad_weight.addmm_(grad.T, hidden_cast[rows])  # a tenth faster than a product, then a sum
                else:
                    grad_weight += grad.T @ hidden_cast[rows]
        # Only backward divides by the row count: in float16 the small quotients would vanish here.
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.rows = len(hidden)
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grad_loss / ctx.rows
        return grad_hidden * scale, grad_weight * scale, None, None
