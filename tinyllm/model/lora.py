"""Low-rank adaptation: a trained matrix stays as it is, and two thin ones beside it learn what is to change.

W x becomes W x + SCALE * up (down x), where `down` has R rows and `up` R columns: with 512 in, 512 out and R = 8 these
are 8,192 numbers to learn instead of 262,144. `up` begins at zero, so training begins at the trained model.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tinyllm.config import ModelConfig
from tinyllm.model.linear import Linear, linear

SCALE = 2.0  # the paper's alpha / R; fixed, so that a learning rate which suits one rank suits another


class LoRALinear(Linear):
    """A linear layer whose own weight and bias are frozen, with a correction of rank R beside it."""

    def __init__(self, inputs: int, outputs: int, bias: bool, rank: int):
        super().__init__(inputs, outputs, bias)
        self.requires_grad_(False)
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.empty(outputs, rank))
        self.begin_correction()

    def begin_correction(self) -> None:
        """What learns: random directions to read, and nothing yet to write."""
        nn.init.normal_(self.down.requires_grad_(), std=self.in_features**-0.5)
        nn.init.zeros_(self.up.requires_grad_())

    def forward(self, x: Float[Tensor, "*shape I"]) -> Float[Tensor, "*shape O"]:
        """Apply the frozen weight, and add the correction."""
        return super().forward(x) + SCALE * linear(linear(x, self.down), self.up)

    def merged(self) -> Float[Tensor, "O I"]:
        """The one matrix that does the same."""
        return self.weight + SCALE * self.up @ self.down


def make_linear(config: ModelConfig, inputs: int, outputs: int) -> Linear:
    """A linear layer inside a block, with a correction where the configuration asks for one."""
    if config.lora:
        return LoRALinear(inputs, outputs, config.bias, config.lora)
    return Linear(inputs, outputs, config.bias)
