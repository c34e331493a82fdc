"""What the model attends to, beside the model's own computation."""

import contextlib
import dataclasses

import pytest
import torch

from tinyllm import GPT
from tinyllm.course.interpretability import (
    attention_weights,
    heads_off,
    induction_scores,
    logit_lens,
    mean_heads,
    patched,
    previous_token_scores,
    residual_stream,
)

CHOICES = [
    {}, {"positions": "rotary"}, {"num_kv_heads": 2}, {"qk_norm": True}, {"bias": False},
    {"positions": "rotary", "num_kv_heads": 1, "qk_norm": True, "bias": False, "norm": "rmsnorm", "logit_softcap": 5.0},
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


# The stream, read and changed on its way


@torch.no_grad()
def streams_by_hand(model: GPT, ids: torch.Tensor) -> list[torch.Tensor]:
    """The model's blocks called one after the other: the stream before each, and after the last, all (T, C)."""
    x = model.token_embedding(ids)
    if model.config.positions == "learned":
        x = x + model.position_embedding(torch.arange(len(ids)))
    streams = [x]
    for block in model.eval().blocks:
        streams.append(block(streams[-1][None])[0])
    return streams


@pytest.fixture
def ids(tiny_config):
    torch.manual_seed(1)
    return torch.randint(tiny_config.vocab_size, (7,))


def test_the_stream_is_what_the_blocks_hand_on(model, ids):
    torch.testing.assert_close(residual_stream(model, ids), torch.stack(streams_by_hand(model, ids)))


def test_the_lens_ends_with_the_models_own_logits_and_reads_each_layer_like_the_last(model, ids):
    lens = logit_lens(model, ids)
    torch.testing.assert_close(lens[-1], model.eval()(ids[None])[0])
    for logits, stream in zip(lens, streams_by_hand(model, ids), strict=True):
        expected = model.final_norm(stream) @ model.token_embedding.weight.T
        bound = model.config.logit_softcap
        torch.testing.assert_close(logits, expected if bound is None else bound * torch.tanh(expected / bound))


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (0, 3), (1, 2)])
def test_a_head_that_is_off_is_one_whose_columns_of_the_projection_are_zero(model, ids, layer, head):
    before = model.eval()(ids[None])
    with heads_off(model, [(layer, head)]):
        off = model(ids[None])
    torch.testing.assert_close(model(ids[None]), before)  # back again
    assert not torch.allclose(off, before)
    with torch.no_grad():
        model.blocks[layer].attention.projection.weight[:, 8 * head : 8 * head + 8] = 0
    torch.testing.assert_close(model(ids[None]), off)


def test_heads_that_are_off_together_are_all_off(model, ids):
    with heads_off(model.eval(), [(0, 1), (1, 3), (0, 2)]):
        off = model(ids[None])
    with torch.no_grad():
        model.blocks[0].attention.projection.weight[:, 8:24] = 0
        model.blocks[1].attention.projection.weight[:, 24:] = 0
    torch.testing.assert_close(model(ids[None]), off)


@pytest.mark.parametrize("layer", [0, 1])
def test_a_head_that_gives_its_mean_adds_the_same_everywhere(model, ids, layer):
    """Its columns of the projection are zero, and what they make of the mean is in the bias."""
    projection = model.eval().blocks[layer].attention.projection
    if projection.bias is None:
        projection.bias = torch.nn.Parameter(torch.zeros(32))
    means = torch.randn(2, 32)
    with heads_off(model, [(layer, 2)], means):
        off = model(ids[None])
    with torch.no_grad():
        projection.bias += projection.weight[:, 16:24] @ means[layer, 16:24]
        projection.weight[:, 16:24] = 0
    torch.testing.assert_close(model(ids[None]), off)


def test_the_means_are_over_all_tokens_of_all_texts(model, ids):
    texts, seen = [ids, ids[:3], ids.flip(0)], []
    hook = model.blocks[1].attention.projection.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    means = mean_heads(model, texts)
    hook.remove()
    torch.testing.assert_close(means[1], torch.cat(seen).mean(0))
    assert [len(part) for part in seen] == [7, 3, 7]
    assert means.shape == (2, 32)
    assert not means.requires_grad


@pytest.mark.parametrize("position", [0, 3, -1])
def test_a_patched_stream_goes_on_from_there(model, ids, position):
    model.eval()
    vector = torch.randn(model.config.embedding_dim)
    for layer, stream in enumerate(streams_by_hand(model, ids)):
        x = stream.clone()
        x[position] = vector
        for block in model.blocks[layer:]:
            x = block(x[None])[0]
        with patched(model, layer, position, vector):
            hidden = model.hidden(ids[None])[0]
        torch.testing.assert_close(hidden, model.final_norm(x))


def test_patching_in_the_other_texts_stream_everywhere_gives_the_other_texts_logits(model, ids):
    model.eval()
    other = ids.flip(0)
    for layer, stream in enumerate(residual_stream(model, other)):
        with contextlib.ExitStack() as stack:
            for position, vector in enumerate(stream):
                stack.enter_context(patched(model, layer, position, vector))
            patched_logits = model(ids[None])
        torch.testing.assert_close(patched_logits, model(other[None]))


@pytest.mark.parametrize(
    "break_in", [lambda model: heads_off(model, [(0, 1)]), lambda m: patched(m, 1, 0, torch.zeros(32))]
)
def test_nothing_stays_in_the_model_even_after_an_error(model, ids, break_in):
    before = model.eval()(ids[None])
    with pytest.raises(KeyboardInterrupt), break_in(model):
        raise KeyboardInterrupt
    torch.testing.assert_close(model(ids[None]), before)
    for training in (True, False):
        model.train(training)
        residual_stream(model, ids)
        logit_lens(model, ids)
        assert model.training == training


def test_what_the_model_does_not_have_is_named(model):
    for layer, head in ((2, 0), (0, 4), (-1, 0), (0, -1)):
        with (
            pytest.raises(ValueError, match=rf"^no head {head} in layer {layer}: .*layers 0 to 1 and heads 0 to 3$"),
            heads_off(model, [(0, 1), (layer, head)]),
        ):
            pass
    for layer in (-1, 3):
        with (
            pytest.raises(ValueError, match=rf"^no layer {layer}: give 0 to 2"),
            patched(model, layer, 0, torch.zeros(32)),
        ):
            pass


def test_induction_is_the_weight_on_what_followed_the_same_token():
    """Beside a slow count, on random weights."""
    torch.manual_seed(2)
    ids = torch.randint(5, (12,))
    weights = torch.rand(2, 3, 12, 12).tril()
    expected = torch.zeros(2, 3)
    for layer, head in ((layer, head) for layer in range(2) for head in range(3)):
        rows = []
        for t in range(12):
            followers = [s + 1 for s in range(t) if ids[s] == ids[t]]
            if followers:
                rows.append(sum(weights[layer, head, t, s] for s in followers))
        expected[layer, head] = sum(rows) / len(rows)
    torch.testing.assert_close(induction_scores(weights, ids), expected)


def test_a_head_that_only_looks_at_what_followed_scores_one():
    ids = torch.tensor([3, 1, 2, 3, 1, 2])
    weights = torch.zeros(1, 1, 6, 6)
    for t in range(3, 6):
        weights[0, 0, t, t - 2] = 1  # the token after the same one, three back
    assert induction_scores(weights, ids).item() == 1
    assert induction_scores(weights.roll(1, -1), ids).item() == 0
    with pytest.raises(ValueError, match="occurs twice"):
        induction_scores(weights, torch.arange(6))


def test_what_a_layer_gave_is_not_changed_by_a_patch_after_it(model, ids):
    before = residual_stream(model, ids)
    with patched(model, 1, 3, torch.ones(32)):
        torch.testing.assert_close(residual_stream(model, ids)[:2], before[:2])


def test_the_previous_token_score_is_the_weight_one_back():
    weights = torch.rand(2, 3, 5, 5).tril()
    expected = torch.stack([weights[:, :, t, t - 1] for t in range(1, 5)]).mean(0)
    torch.testing.assert_close(previous_token_scores(weights), expected)
