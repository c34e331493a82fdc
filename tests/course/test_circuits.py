"""What the parts write, beside the model's own computation."""

import dataclasses

import pytest
import torch

from tinyllm import GPT
from tinyllm.course.circuits import logit_attribution, ov_writes, qk_scores
from tinyllm.course.interpretability import attention_weights, residual_stream

CHOICES = [
    {}, {"positions": "rotary"}, {"num_kv_heads": 2}, {"qk_norm": True}, {"bias": False}, {"lora": 3},
    {"positions": "rotary", "num_kv_heads": 1, "qk_norm": True, "bias": False, "norm": "rmsnorm"},
]  # fmt: skip


@pytest.fixture(params=CHOICES, ids=lambda choice: "+".join(choice) or "default")
def model(request, tiny_config):
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(tiny_config, embedding_dim=32, num_heads=4, **request.param)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def ids(model):
    torch.manual_seed(1)
    return torch.randint(model.config.vocab_size, (7,))


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (0, 3), (1, 2)])
def test_the_scores_give_the_models_own_weights(model, ids, layer, head):
    """Row t: the softmax of the scores of t's vector with those up to it, each at its distance."""
    stream, weights = residual_stream(model, ids)[layer], attention_weights(model, ids)[layer, head]
    for t in range(7):
        scores = [qk_scores(model, layer, head, stream[t : t + 1], stream[s : s + 1], t - s) for s in range(t + 1)]
        torch.testing.assert_close(torch.cat(scores, dim=1)[0].softmax(0), weights[t, : t + 1])
    both = qk_scores(model, layer, head, stream[:2], stream, 3)
    torch.testing.assert_close(both[1:, 4:], qk_scores(model, layer, head, stream[1:2], stream[4:], 3))


@pytest.mark.parametrize("layer", [0, 1])
def test_the_heads_writes_are_what_attention_adds(model, ids, layer):
    stream, weights = residual_stream(model, ids)[layer], attention_weights(model, ids)[layer]
    mixed = sum(weights[head] @ ov_writes(model, layer, head, stream) for head in range(4))  # each row adds up to 1
    attention = model.blocks[layer].attention
    bias = 0 if attention.projection.bias is None else attention.projection.bias
    torch.testing.assert_close(mixed + bias, attention(model.blocks[layer].attention_norm(stream[None]))[0])


def test_the_shares_add_up_to_the_difference_of_the_logits(model, ids):
    logits = model(ids[None])[0, -1]
    for right, wrong in ((3, 5), (5, 3), (0, 1)):
        shares = logit_attribution(model, ids, right, wrong)
        assert sum(shares.values()) == pytest.approx((logits[right] - logits[wrong]).item(), abs=1e-4)
    names = [f"layer {n}, {part}" for n in (1, 2) for part in ("head 1", "head 2", "head 3", "head 4", "feed-forward")]
    assert list(shares) == ["embeddings", *names, "biases"]


def test_a_share_is_what_is_lost_without_the_part_at_the_same_scale(model, ids):
    """The slope: a thousandth less of the part takes a thousandth of its share, less what the scale itself changes."""
    shares = logit_attribution(model, ids, 3, 5)
    block, norm = model.blocks[1], model.final_norm
    seen = []
    hooks = [
        block.feedforward.register_forward_hook(lambda _, __, gives: seen.append(gives[0, -1])),
        norm.register_forward_pre_hook(lambda _, given: seen.append(given[0][0, -1])),
    ]
    model(ids[None])
    for hook in hooks:
        hook.remove()
    part, stream = seen
    centred = stream - stream.mean() if isinstance(norm, torch.nn.LayerNorm) else stream
    scale = (centred.square().mean() + 1e-5).sqrt()
    without = norm(stream) - norm.weight * (part - (part.mean() if centred is not stream else 0)) / scale
    lost = model.head(norm(stream)) - model.head(without)
    assert shares["layer 2, feed-forward"] == pytest.approx((lost[3] - lost[5]).item(), abs=1e-4)


def test_nothing_stays_in_the_model(model, ids):
    logit_attribution(model, ids, 0, 1)
    qk_scores(model, 0, 0, torch.randn(2, 32), torch.randn(3, 32))
    ov_writes(model, 0, 0, torch.randn(2, 32))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
