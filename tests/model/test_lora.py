"""Low-rank corrections: they begin as nothing, alone learn, and can be merged into the matrices beside them."""

import dataclasses

import pytest
import torch
from small_models import perturbed, random_ids

from tinyllm import GPT, load_model, save_model
from tinyllm.config import ModelConfig
from tinyllm.estimation import count_parameters
from tinyllm.model.lora import SCALE, LoRALinear
from tinyllm.model.weights import adapt_model

CHOICES = [{}, {"activation": "swiglu", "bias": False, "num_kv_heads": 1, "positions": "rotary", "norm": "rmsnorm"}]


@pytest.fixture(params=CHOICES, ids=["gpt2", "llama"])
def base(request, tiny_config):
    return perturbed(dataclasses.replace(tiny_config, **request.param))


def trained(model: GPT) -> GPT:
    """With corrections that are not zero any more."""
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in (module for module in model.modules() if isinstance(module, LoRALinear)):
            layer.up.normal_(std=0.1)
    return model


def test_a_correction_is_a_product_of_two_thin_matrices():
    torch.manual_seed(0)
    layer = LoRALinear(12, 20, bias=True, rank=3)
    with torch.no_grad():
        layer.up.normal_()
    x = torch.randn(2, 5, 12)
    by_hand = x @ layer.weight.T + layer.bias + SCALE * (x @ layer.down.T) @ layer.up.T
    torch.testing.assert_close(layer(x), by_hand)
    torch.testing.assert_close(x @ layer.merged().T + layer.bias, by_hand)
    assert torch.linalg.matrix_rank(layer.merged() - layer.weight) == 3


def test_training_begins_at_the_trained_model(base):
    ids = random_ids(base.config, 2, 16)
    assert torch.equal(adapt_model(base, lora=4).eval()(ids), base(ids))


def test_only_the_corrections_learn(base):
    model = adapt_model(base, lora=4)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if name.endswith((".down", ".up"))}
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert len(learning) == 2 * len(layers)  # one beside each matrix in the blocks
    ids = random_ids(base.config, 2, 17)
    model(ids[:, :-1], ids[:, 1:]).backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == learning


@pytest.mark.parametrize("lora", [1, 5])
def test_merged_equals_unmerged(base, lora):
    model = trained(adapt_model(base, lora=lora)).eval()
    merged = adapt_model(model).eval()
    ids = random_ids(base.config, 2, 16)
    assert merged.config == base.config
    assert (model(ids) - base(ids)).abs().max() > 0.1
    torch.testing.assert_close(merged(ids), model(ids))


def test_new_corrections_go_on_top_of_merged_ones(base):
    model = trained(adapt_model(base, lora=3)).eval()
    again = adapt_model(model, lora=2).eval()
    ids = random_ids(base.config, 2, 16)
    assert again.config.lora == 2
    torch.testing.assert_close(again(ids), model(ids))


def test_a_fresh_model_with_corrections_has_those_of_an_adapted_one(tiny_config):
    fresh = GPT(dataclasses.replace(tiny_config, lora=4))
    learning = {name for name, parameter in fresh.named_parameters() if parameter.requires_grad}
    assert learning and all(name.endswith((".down", ".up")) for name in learning)
    assert all(not parameter.any() for name, parameter in fresh.named_parameters() if name.endswith(".up"))


def test_a_file_keeps_the_corrections_apart(base, tmp_path):
    model = trained(adapt_model(base, lora=4)).eval()
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors", device="cpu")
    ids = random_ids(base.config, 2, 16)
    assert loaded.config.lora == 4
    assert torch.equal(loaded(ids), model(ids))
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in model.parameters()]


def test_the_seed_decides_what_is_new(base):
    one, same, other = (adapt_model(base, lora=4, vocab_size=100, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    down, embedding = "blocks.0.attention.qkv.down", "token_embedding.weight"
    assert not torch.equal(one[down], other[down])
    assert torch.equal(one[embedding][: base.config.vocab_size], other[embedding][: base.config.vocab_size])
    assert not torch.equal(one[embedding][base.config.vocab_size :], other[embedding][base.config.vocab_size :])


def test_new_tokens_surprise_nobody_and_differ(base):
    grown = adapt_model(base, vocab_size=base.config.vocab_size + 3).eval()
    ids = random_ids(base.config, 2, 16)
    torch.testing.assert_close(grown(ids)[..., : base.config.vocab_size], base(ids))
    new = grown.token_embedding.weight[-3:]
    torch.testing.assert_close(new.mean(0), base.token_embedding.weight.mean(0), rtol=0, atol=0.1)
    assert not torch.equal(new[0], new[1])


@pytest.mark.parametrize("choices", CHOICES, ids=["gpt2", "llama"])
def test_parameters_are_counted_with_corrections(tiny_config, choices):
    config: ModelConfig = dataclasses.replace(tiny_config, lora=4, **choices)
    assert count_parameters(config) == sum(parameter.numel() for parameter in GPT(config).parameters())
