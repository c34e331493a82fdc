"""Ids and weights for tests of small models."""

import torch
from torch import Tensor

from tinyllm import GPT, ModelConfig


def random_ids(config: ModelConfig, batch: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))


def perturbed(config: ModelConfig) -> GPT:
    """A model with weights far larger than at initialisation, so that attention is not flat and a mistake shows."""
    torch.manual_seed(0)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model
