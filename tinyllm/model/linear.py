"""A linear layer that stays fast for a handful of rows, as sampling has them: one new token for each text."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW = 8  # rows
BLOCKS = 4  # parts of the weight; more are no faster on two to sixteen cores


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias, as `F.linear`: (..., I), (O, I), (O) -> (..., O).

    On a CPU, MKL multiplies a matrix by a few rows on one core, at a fraction of the speed at which memory delivers the
    weights. The same product as a batch of blocks of the weight keeps every core and the memory busy.
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
    """`nn.Linear`, by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return linear(x, self.weight, self.bias)
