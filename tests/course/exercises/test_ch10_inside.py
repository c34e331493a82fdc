"""Each reference of notebook 10 beside an independent one."""

import pytest
import torch

import tinyllm.course.clinic
import tinyllm.course.interpretability
from tinyllm import GPT
from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.registry import EXERCISES
from tinyllm.course.exercises import ch10_inside as inside


def test_a_head_switched_off_is_the_packages(tiny_config):
    model, ids, seen = GPT(tiny_config).eval(), torch.randint(tiny_config.vocab_size, (1, 7)), []
    projection = model.blocks[0].attention.projection
    projection.register_forward_hook(lambda _, given, output: seen.append(given[0]))
    model(ids)
    with tinyllm.course.interpretability.heads_off(model, [(0, 1)]):
        model(ids)
    torch.testing.assert_close(inside.switch_off(seen[0], 1, tiny_config.num_heads), seen[1])


def test_the_lens_is_the_packages(tiny_config):
    model, ids = GPT(tiny_config), torch.randint(tiny_config.vocab_size, (7,))
    torch.nn.init.normal_(model.final_norm.bias)
    norm, table = model.final_norm, model.token_embedding.weight
    streams, logits = (
        tinyllm.course.interpretability.residual_stream(model, ids),
        tinyllm.course.interpretability.logit_lens(model, ids),
    )
    for stream, expected in zip(streams, logits, strict=True):
        torch.testing.assert_close(inside.lens(stream, norm.weight, norm.bias, table), expected)


def test_patching_is_torch_where():
    stream, other = torch.randn(1, 6, 4), torch.randn(1, 6, 4)
    here = (torch.arange(6) == 2)[None, :, None]
    assert torch.equal(inside.patch(stream, other, 2), torch.where(here, other, stream))


def test_the_induction_score_is_a_diagonals_mean_and_the_packages():
    weights = torch.rand(10, 10).tril().softmax(-1)
    score = inside.induction_score(weights, 4)
    torch.testing.assert_close(score, weights.diagonal(-3)[1:].mean())
    ids = torch.arange(10) % 4  # each token once in a period, so one position to attend to in the first two
    twice = weights[:8, :8]
    torch.testing.assert_close(
        inside.induction_score(twice, 4),
        tinyllm.course.interpretability.induction_scores(twice[None, None], ids[:8])[0, 0],
    )


def test_the_shares_of_a_stream_add_up_to_the_logits():
    parts, weight, table = torch.randn(5, 8), torch.randn(8), torch.randn(2, 8)
    logits = torch.nn.functional.layer_norm(parts.sum(0), (8,), weight) @ table.T
    shares = inside.attribution(parts, parts.sum(0), weight, table[0] - table[1])
    torch.testing.assert_close(shares.sum(), logits[0] - logits[1])


def test_what_a_head_writes_is_its_own_part_of_attention(tiny_config):
    """With all others off, and no bias, attention to a single token is this matrix."""
    attention = GPT(tiny_config).blocks[0].attention
    x = torch.randn(1, 1, tiny_config.embedding_dim)
    own = inside.ov_circuit(attention.qkv.weight, attention.projection.weight, 1, tiny_config.num_heads)
    D = tiny_config.head_dim
    with torch.no_grad():
        attention.projection.weight[:, :D] = attention.projection.weight[:, 2 * D :] = 0
    torch.testing.assert_close(attention(x)[0, 0], own @ x[0, 0])


@pytest.mark.parametrize("name", ["inside.switch_off", "inside.patch"])
def test_an_answer_that_changes_its_input_is_told_so(name):
    def in_place(tensor, *more):
        result = EXERCISES[name].reference(tensor, *more)
        return tensor.copy_(result)

    changed = "mixed" if name == "inside.switch_off" else "stream"
    assert f"your function changes its argument `{changed}`" in examine(name, in_place).message


def test_the_mended_hooks_collect_the_packages_streams(tiny_config):
    model, ids = GPT(tiny_config).eval(), torch.randint(tiny_config.vocab_size, (7,))
    for _ in range(2):  # the second time no hook is left of the first
        streams = inside.mend_streams(model, ids[None])
        torch.testing.assert_close(torch.cat(streams), tinyllm.course.interpretability.residual_stream(model, ids))


@pytest.mark.parametrize(("length", "period"), [(40, 10), (12, 5)])
def test_a_score_by_chance_is_that_of_random_heads(length, period):
    future = torch.ones(length, length).triu(1) > 0
    heads = torch.randn(500, length, length).masked_fill(future, -torch.inf).softmax(-1)
    measured = torch.stack([inside.induction_score(head, period) for head in heads]).mean().item()
    assert inside.score_by_chance(length, period) == pytest.approx(measured, rel=0.05)


def test_a_measured_answer_may_draw_from_the_shared_generator():
    def score_by_chance(length, period):
        future = torch.ones(length, length).triu(1) > 0
        heads = torch.randn(500, length, length).masked_fill(future, -torch.inf).softmax(-1)
        return sum(heads[:, t, t - period + 1].mean() for t in range(period, length)) / (length - period)

    verdict = examine("inside.score_by_chance", score_by_chance)
    assert verdict.kind == "correct", verdict.message


@pytest.mark.parametrize(("eps", "kind"), [(0, "correct"), (1e-5, "correct"), (1e-2, "wrong")])
def test_attribution_may_have_layer_norms_eps_or_not(eps, kind):
    def answer(parts, stream, weight, direction):
        scale = (stream.var(unbiased=False) + eps).sqrt()
        return ((parts - parts.mean(-1, keepdim=True)) / scale * weight) @ direction

    assert examine("inside.attribution", answer).kind == kind
