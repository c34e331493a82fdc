"""What the model looks at, beside the model's own computation."""

import dataclasses

import pytest
import torch

from tinyllm import GPT
from tinyllm.inside import attention_weights

CHOICES = [
    {}, {"positions": "rotary"}, {"num_kv_heads": 2}, {"qk_norm": True}, {"bias": False},
    {"positions": "rotary", "num_kv_heads": 1, "qk_norm": True, "bias": False, "norm": "rmsnorm"},
]  # fmt: skip


@pytest.fixture(params=CHOICES, ids=lambda choice: "+".join(choice) or "default")
def tiny_config(request, tiny_config):
    """Each choice that changes what attention computes."""
    return dataclasses.replace(tiny_config, embedding_dim=32, num_heads=4, **request.param)


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    model = GPT(tiny_config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # so that heads differ
    return model


def test_the_weights_mix_the_values_into_what_each_layer_gives(model, tiny_config):
    ids = torch.randint(tiny_config.vocab_size, (9,))
    seen = []
    for block in model.blocks:
        block.attention.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0][0], output[0])))
    weights = attention_weights(model, ids)
    assert weights.shape == (tiny_config.num_layers, tiny_config.num_heads, 9, 9)
    for layer, (x, output) in enumerate(seen):
        attention = model.blocks[layer].attention
        width = tiny_config.kv_heads * tiny_config.head_dim
        values = attention.qkv(x)[:, -width:].view(9, tiny_config.kv_heads, -1).transpose(0, 1)
        values = torch.stack([values[head * len(values) // 4] for head in range(4)])  # as each head of queries sees it
        mixed = (weights[layer] @ values).transpose(0, 1).reshape(9, -1)
        torch.testing.assert_close(attention.projection(mixed), output)


def test_rows_add_up_to_one_and_the_future_is_dark(model):
    weights = attention_weights(model, torch.arange(6))
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert not weights.triu(1).any()


def test_the_model_stays_as_it_was(model):
    for training in (True, False):
        model.train(training)
        attention_weights(model, torch.arange(3))
        assert model.training == training
    assert not any(block.attention._forward_pre_hooks for block in model.blocks)


def test_too_long_a_text_is_the_models_own_error(model, tiny_config):
    with pytest.raises(ValueError, match="context_length"):
        attention_weights(model, torch.zeros(tiny_config.context_length + 1, dtype=torch.long))
    assert not any(block.attention._forward_pre_hooks for block in model.blocks)
