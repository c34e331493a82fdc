"""The feed-forward layer, against its formulas written out."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from tinyllm import FeedForward, ModelConfig
from tinyllm.config import Activation


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", get_args(Activation))
def test_feedforward_uses_the_activation_that_the_config_names(activation, bias):
    config = ModelConfig(embedding_dim=8, num_heads=1, feedforward_dim=16, activation=activation, bias=bias)
    layer = FeedForward(config)
    x = 10 * torch.randn(3, 5, 8)

    def apply(linear: torch.nn.Linear, x: Tensor) -> Tensor:
        return x @ linear.weight.T + (linear.bias if bias else 0)

    z = apply(layer.expand, x)
    if activation == "gelu":
        z = z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    elif activation == "gelu_tanh":
        z = z * 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    elif activation == "relu_squared":
        z = torch.where(z > 0, z * z, 0)
    else:
        gate = apply(layer.gate, x)
        z = z * gate / (1 + torch.exp(-gate))
    torch.testing.assert_close(layer(x), apply(layer.projection, z), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_each_token_is_transformed_on_its_own(config):
    layer = FeedForward(config)
    x = torch.randn(2, 5, config.embedding_dim)
    alone = torch.stack([layer(x[:, t : t + 1]) for t in range(5)], dim=1).squeeze(2)
    torch.testing.assert_close(layer(x), alone)
