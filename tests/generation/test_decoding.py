"""Decoding in steps of one shape equals the plain way; what CUDA records is such a step."""

import dataclasses

import pytest
import torch
from unchecked import run_unchecked

from tinyllm import GPT, GenerationConfig, generate
from tinyllm.generation import writing
from tinyllm.generation.decoding import Decoder, FixedShapeDecoder, make_decoder


def unrecorded(step, _example):
    return step


@pytest.mark.parametrize("config_name", ["tiny_config", "modern_config"])
def test_steps_of_one_shape_give_the_logits_of_the_plain_way(config_name, request):
    config = request.getfixturevalue(config_name)
    torch.manual_seed(0)
    model = GPT(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # so that every part matters, zero-initialised ones too
    ids = torch.randint(config.vocab_size, (3, config.context_length))
    plain, fixed = Decoder(model, 3), FixedShapeDecoder(model, 3, unrecorded)
    for new in (ids[:, :4], *ids[:, 4:].split(1, dim=1)):
        torch.testing.assert_close(fixed.read(new), plain.read(new), rtol=1e-4, atol=1e-4)
    assert plain.room == fixed.room == 0


TRACED = """
import torch
from tinyllm import GPT, ModelConfig
from tinyllm.generation.decoding import Decoder, FixedShapeDecoder

config = ModelConfig(vocab_size=97, context_length=16, embedding_dim=32, num_layers=2, num_heads=4, feedforward_dim=48,
                     positions="rotary", qk_norm=True, num_kv_heads=2, dropout=0.0)
graphs = []

def count(graph, _inputs):
    graphs.append(graph)
    return graph

model = GPT(config).eval()
ids = torch.randint(97, (3, 16))
plain = Decoder(model, 3)
fixed = FixedShapeDecoder(model, 3, lambda step, _: torch.compile(step, backend=count, fullgraph=True, dynamic=False))
for new in (ids[:, :4], *ids[:, 4:].split(1, dim=1)):
    torch.testing.assert_close(fixed.read(new), plain.read(new), rtol=1e-4, atol=1e-4)
assert len(graphs) == 1, len(graphs)
"""


def test_a_step_is_one_graph_whose_shapes_never_change():
    """Traced whole: were Python to wait for a number, this would raise; were a shape to change, it would trace anew."""
    run_unchecked(TRACED)


def plain_last(model, ids):
    return model(ids)[:, -1]


def test_after_forgetting_nothing_of_the_old_context_is_seen(tiny_config):
    model = GPT(tiny_config).eval()
    ids = torch.randint(tiny_config.vocab_size, (2, 12))
    used, fresh = (FixedShapeDecoder(model, 2, unrecorded) for _ in range(2))
    for new in (ids[:, :8], *ids[:, 8:].split(1, dim=1)):
        used.read(new)
    used.forget()
    for new in (ids[:, 3:6], ids[:, 6:7], ids[:, 7:8]):
        torch.testing.assert_close(used.read(new), fresh.read(new))


def test_a_recording_that_tries_the_step_out_leaves_no_trace(tiny_config):
    """A CUDA graph is recorded after three trials, which write into the cache and move on, even past its end."""

    def tried(step, example):
        for _ in range(tiny_config.context_length + 3):
            step(example)
        return step

    model = GPT(tiny_config).eval()
    ids = torch.randint(tiny_config.vocab_size, (2, 16))
    plain, fixed = Decoder(model, 2), FixedShapeDecoder(model, 2, tried)
    for new in (ids[:, :5], *ids[:, 5:].split(1, dim=1)):
        torch.testing.assert_close(fixed.read(new), plain.read(new), rtol=1e-4, atol=1e-4)


def test_one_token_prompts_and_grouped_heads(modern_config):
    config = dataclasses.replace(modern_config, num_kv_heads=1)
    model = GPT(config).eval()
    ids = torch.randint(config.vocab_size, (1, 6))
    fixed = FixedShapeDecoder(model, 1, unrecorded)
    for t in range(6):
        logits = fixed.read(ids[:, t : t + 1])
    torch.testing.assert_close(logits, plain_last(model, ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config_name", ["tiny_config", "modern_config"])
def test_the_same_seed_draws_the_same_text_also_past_the_context(config_name, request, monkeypatch):
    config = request.getfixturevalue(config_name)
    torch.manual_seed(0)
    model = GPT(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    prompts = torch.randint(config.vocab_size, (3, 4))
    texts = {}
    for decoder in (Decoder, lambda *sizes: FixedShapeDecoder(*sizes, unrecorded)):
        monkeypatch.setattr(writing, "make_decoder", decoder)
        for seed in (5, 6):
            settings = GenerationConfig(3 * config.context_length, temperature=0.8, stop_tokens=(), seed=seed)
            texts[decoder, seed] = torch.stack(list(generate(model, prompts, settings)))
    plain, another, fixed, _ = texts.values()
    assert torch.equal(fixed, plain)
    assert (plain != another).float().mean() > 0.5  # drawn, not the likeliest


def test_a_cpu_takes_the_plain_way(tiny_config):
    assert type(make_decoder(GPT(tiny_config), 1)) is Decoder
