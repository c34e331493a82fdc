"""Cross-entropy without the logits of a whole batch in memory.

For 4,096 tokens and GPT-2's vocabulary the logits alone take 4096 x 50257 x 4 bytes = 823 MB, and their gradient
as much again. Here one chunk of rows at a time gets its logits, its loss and, in the same pass, its gradients.
The optional notebook A2 builds them by hand.

Shapes: N tokens, C embedding_dim, V vocab_size.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tinyllm.config import IGNORED

LOGIT_BYTES = {"cuda": 1 << 30, "cpu": 1 << 27}  # float32 logits of a chunk; a CPU's cache gains nothing from more
THRESHOLD = 1 << 24  # logits; with fewer, a single matrix is simpler and as fast


def chunk_rows(vocab_size: int, device: str) -> int:
    """The number of tokens whose logits are in memory at once: a power of two."""
    affordable = LOGIT_BYTES.get(device, LOGIT_BYTES["cpu"]) // (4 * vocab_size)
    return 1 << max(0, affordable.bit_length() - 1)


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

    Equal to `F.cross_entropy` of the logits in value and gradient, also under autocast. A target that is `IGNORED` does
    not count in the mean; where none counts, the loss is 0.
    """
    if len(hidden) * len(weight) < THRESHOLD:
        logits = softcap(F.linear(hidden, weight).float(), logit_softcap)
        return F.cross_entropy(logits, targets, reduction="sum") / counted(targets)
    if not torch.is_grad_enabled():
        return token_losses(hidden, weight, targets, logit_softcap).sum() / counted(targets)
    loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]  # torch leaves `apply` untyped
        hidden, weight, targets, logit_softcap
    )
    return loss


def counted(targets: Int[Tensor, " N"]) -> Int[Tensor, ""]:
    """How many targets are not `IGNORED`, but at least 1: a loss is divided by it."""
    return (targets != IGNORED).sum().clamp(min=1)


def token_losses(
    hidden: Float[Tensor, "N C"],
    weight: Float[Tensor, "V C"],
    targets: Int[Tensor, " N"],
    logit_softcap: float | None = None,
) -> Float[Tensor, " N"]:
    """-log p of each target, in nats, without gradients; 0 where it is `IGNORED`."""
    device = hidden.device.type
    # On a GPU a quarter of training's chunks: a held-out loss must fit beside a run that fills the memory.
    rows = max(1, chunk_rows(len(weight), device) // (4 if device == "cuda" else 1))
    weight_cast, losses = _padded(weight.to(_product_dtype(hidden))), []
    for h, t in zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True):
        logits = F.linear(h, weight_cast)[:, : len(weight)]
        losses.append(F.cross_entropy(softcap(logits.float(), logit_softcap), t, reduction="none"))
    return torch.cat(losses)


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """The type in which products are computed: autocast's, where it is on."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The gradient of cross-entropy with respect to the logits is softmax - one-hot: the forward pass knows it already.

    A soft cap multiplies it by the derivative of bound * tanh(x / bound), which is 1 - tanh(x / bound)^2.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, logit_softcap: float | None) -> Tensor:
        device, dtype = hidden.device.type, _product_dtype(hidden)
        hidden_cast, weight_cast = hidden.to(dtype), _padded(weight.to(dtype))
        rows = chunk_rows(len(weight), device)
        loss = torch.zeros((), device=hidden.device)
        learns = ctx.needs_input_grad[1]  # with LoRA the head is frozen
        grads_hidden, grad_weight = [], torch.zeros_like(weight_cast, dtype=weight.dtype) if learns else None
        with torch.autocast(device, enabled=False):
            for h, t in zip(torch.split(hidden_cast, rows), torch.split(targets, rows), strict=True):
                logits = h @ weight_cast.T
                chunk_loss, grad = _loss_and_gradient(logits, t, len(weight), logit_softcap, fused=logits.is_cuda)
                loss += chunk_loss
                grads_hidden.append((grad @ weight_cast).to(hidden.dtype))
                if grad_weight is None:
                    continue
                if dtype == grad_weight.dtype:
                    grad_weight.addmm_(grad.T, h)  # a tenth faster than a product, then a sum
                else:
                    grad_weight += grad.T @ h
        # Only backward divides by the count: in float16 the small quotients would vanish here.
        count = counted(targets)
        if grad_weight is not None:
            grad_weight = grad_weight[: len(weight)]
        ctx.save_for_backward(torch.cat(grads_hidden), grad_weight, count)
        return loss / count

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        grad_hidden, grad_weight, count = ctx.saved_tensors
        scale = grad_loss / count
        return grad_hidden * scale, None if grad_weight is None else grad_weight * scale, None, None


def _padded(weight: Float[Tensor, "V C"]) -> Float[Tensor, "P C"]:
    """With rows of zeros up to a multiple of 64, in half precision: tensor cores are slow on odd vocabularies."""
    missing = -len(weight) % 64
    return weight if weight.dtype == torch.float32 or not missing else F.pad(weight, (0, 0, 0, missing))


def _loss_and_gradient(
    logits: Float[Tensor, "N P"], targets: Int[Tensor, " N"], vocab_size: int, logit_softcap: float | None, fused: bool
) -> tuple[Float[Tensor, ""], Float[Tensor, "N P"]]:
    """The summed loss of some rows and its gradient with respect to the logits, in the logits' type.

    `fused`: no step is in place, so torch.compile keeps everything between the two products in registers, and only
    half-precision logits and their gradient are written to memory. Otherwise one matrix is reused, which is faster on a
    CPU.
    """
    columns = torch.arange(logits.shape[1], device=logits.device)
    capped = softcap(logits.float(), logit_softcap)
    padded = logits.shape[1] > vocab_size
    log_p = F.log_softmax(capped.masked_fill(columns >= vocab_size, -torch.inf) if padded else capped, dim=-1)
    counts, targets = (targets != IGNORED)[:, None].float(), targets.clamp(min=0)[:, None]
    loss = -(log_p.gather(1, targets) * counts).sum()
    if fused:
        grad = (log_p.exp() - (columns == targets).float()) * counts
    else:
        grad = log_p.exp_().scatter_add_(1, targets, -torch.ones_like(counts)).mul_(counts)
    if logit_softcap is not None:
        grad = grad * (1 - (capped / logit_softcap).square())
    return loss, grad.to(logits.dtype)
