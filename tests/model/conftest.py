"""Each test that asks for `config` or `model` runs twice: with GPT-2's choices, and with all of those made since."""

import pytest
from small_models import perturbed

from tinyllm import GPT, ModelConfig


@pytest.fixture(params=["classic", "modern"])
def config(request, tiny_config, modern_config) -> ModelConfig:
    return tiny_config if request.param == "classic" else modern_config


@pytest.fixture
def model(config) -> GPT:
    return perturbed(config)
