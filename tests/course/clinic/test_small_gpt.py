"""The clinic's model, beside PyTorch's own attention and beside itself with a cache."""

import pytest
import torch
import torch.nn.functional as F

from tinyllm.course.clinic.small_gpt import CONTEXT, LAYERS, VOCABULARY, WIDTH, Attention, SmallGPT, stepwise


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SmallGPT().eval()


@pytest.fixture
def ids():
    return torch.randint(VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(1))


def test_its_attention_is_pytorchs():
    torch.manual_seed(0)
    attention, x = Attention().eval(), torch.randn(2, 7, WIDTH)
    q, k, v = (part[:, None] for part in attention.qkv(x).chunk(3, dim=-1))  # one head
    expected = attention.projection(F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0])
    y, (keys, values) = attention(x, None)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close((keys, values), (k, v))


def test_attention_drops_weights_in_training_only():
    torch.manual_seed(0)
    attention, x = Attention(), torch.randn(1, 40, WIDTH)
    assert not torch.equal(attention(x, None)[0], attention(x, None)[0])
    attention.eval()
    assert torch.equal(attention(x, None)[0], attention(x, None)[0])


def test_no_logit_depends_on_a_later_token(model, ids):
    changed = ids.clone()
    changed[:, 5] = (ids[:, 5] + 1) % VOCABULARY
    before, after = model(ids), model(changed)
    torch.testing.assert_close(after[:, :5], before[:, :5])
    assert not torch.allclose(after[:, 5:], before[:, 5:])


def test_head_and_embedding_are_one_matrix_and_every_layer_is_a_parameter(model):
    assert model.head.weight is model.embedding.weight
    layer = 12 * WIDTH**2 + 13 * WIDTH
    size = VOCABULARY * WIDTH + CONTEXT * WIDTH + LAYERS * layer + 2 * WIDTH
    assert sum(parameter.numel() for parameter in model.parameters()) == size


def test_token_by_token_with_a_cache_gives_the_same_logits(model, ids):
    torch.testing.assert_close(stepwise(model, ids), model(ids), atol=1e-5, rtol=1e-4)
    past = []
    model(ids, past)
    assert [keys.shape for keys, _ in past] == [(2, 1, 9, WIDTH)] * LAYERS
