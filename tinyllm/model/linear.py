"""A linear layer that stays fast for a handful of rows, as in sampling: one new token per text."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FEW = 8  # rows
BLOCKS = 4  # into which the weight is cut; more are no faster on two to sixteen cores


def linear(
    x: Float[Tensor, "*shape I"], weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None = None
) -> Float[Tensor, "*shape O"]:
    """Compute x @ weight.T + bias, as `F.linear` does.

    On a CPU, MKL multiplies a matrix by a few rows on one core, far slower than memory can deliver the weights. The
    same product as a batch, one block of the weight each, keeps every core and the memory busy.
    """
    rows = x.numel() // x.shape[-1]
    plain = rows > FEW or x.device.type != "cpu" or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
    if plain or len(weight) < BLOCKS:
        return F.linear(x, weight, bias)
    height = len(weight) // BLOCKS
    whole = height * BLOCKS
    columns = x.reshape(rows, x.shape[-1]).T  # (I, rows)
    y = x.new_empty(len(weight), rows)
    blocks = weight[:whole].view(BLOCKS, height, weight.shape[1])
    torch.bmm(blocks, columns.expand(BLOCKS, -1, -1), out=y[:whole].view(BLOCKS, height, rows))
    if whole < len(weight):
        torch.mm(weight[whole:], columns, out=y[whole:])
    y = y.T.contiguous().view(*x.shape[:-1], len(weight))
    return y if bias is None else y + bias


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`."""

    def forward(self, x: Float[Tensor, "*shape I"]) -> Float[Tensor, "*shape O"]:
        """Apply the weight and, if there is one, the bias."""
        return linear(x, self.weight, self.bias)
