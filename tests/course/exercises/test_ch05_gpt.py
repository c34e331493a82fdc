"""Each reference of notebook 05 beside an independent one."""

import math

import pytest
import torch
from torch import nn

from tinyllm import GPT, ModelConfig
from tinyllm.course.exercises import ch05_gpt as gpt


def test_embed_and_logits_are_the_models_ends(tiny_config):
    model = GPT(tiny_config)
    token_ids = torch.randint(tiny_config.vocab_size, (2, 7))
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.blocks[-1].register_forward_hook(lambda _, inputs, output: seen.append(output))
    expected = model(token_ids)
    tables = model.token_embedding.weight, model.position_embedding.weight
    torch.testing.assert_close(gpt.embed(token_ids, *tables), seen[0])
    torch.testing.assert_close(gpt.logits(seen[1], model.final_norm, tables[0]), expected)


@pytest.mark.parametrize("sizes", [(97, 16, 24, 2, 48), (11, 3, 5, 1, 7), (50, 8, 6, 4, 24)])
def test_parameter_count_is_the_models(sizes):
    vocab_size, context_length, embedding_dim, num_layers, feedforward_dim = sizes
    config = ModelConfig(
        vocab_size=vocab_size, context_length=context_length, embedding_dim=embedding_dim, num_layers=num_layers,
        num_heads=1, feedforward_dim=feedforward_dim,
    )  # fmt: skip
    assert gpt.parameter_count(*sizes) == sum(parameter.numel() for parameter in GPT(config).parameters())


def test_init_std_is_the_spread_of_a_new_models_weights():
    config = ModelConfig(
        vocab_size=200, context_length=64, embedding_dim=96, num_layers=5, num_heads=2, feedforward_dim=96
    )
    matrices = {name: p for name, p in GPT(config).named_parameters() if p.dim() == 2}
    assert len(matrices) == 22
    for name, parameter in matrices.items():
        assert gpt.init_std(name, 5) == pytest.approx(parameter.std().item(), rel=0.05)


def test_the_mended_loss_is_the_models(tiny_config):
    model = GPT(tiny_config)
    ids, targets = torch.randint(tiny_config.vocab_size, (2, 2, 7))
    tables = model.token_embedding.weight, model.position_embedding.weight
    loss = gpt.mend_loss(ids, targets, *tables, list(model.blocks), model.final_norm)
    torch.testing.assert_close(loss, model(ids, targets))


@pytest.mark.parametrize("spread", [0.5, 1.5])
def test_extra_loss_is_what_logits_that_know_nothing_cost(spread):
    scores = spread * torch.randn(4000, 1000)
    measured = nn.functional.cross_entropy(scores, torch.randint(1000, (4000,))) - math.log(1000)
    assert gpt.extra_loss(spread) == pytest.approx(measured.item(), rel=0.15)
