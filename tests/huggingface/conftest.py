import pytest
import torch

from tinyllm import GPT


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(89, (3, 24), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model_of_ours(tiny_config) -> GPT:
    return GPT(tiny_config)
