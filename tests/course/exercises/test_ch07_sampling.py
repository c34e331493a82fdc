"""Each reference of notebook 07 beside an independent one."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tinyllm import GenerationConfig
from tinyllm.course.checking.judging import examine
from tinyllm.course.exercises import ch07_sampling as sampling
from tinyllm.generation.sampling import next_tokens


def test_temperature_top_k_and_top_p_are_transformers():
    logits = 2 * torch.randn(1, 40)
    expected = TemperatureLogitsWarper(0.7)(None, logits.clone()).softmax(-1)
    torch.testing.assert_close(sampling.temperature(logits[0], 0.7), expected[0])
    assert torch.equal(sampling.top_k(logits[0], 9), TopKLogitsWarper(9)(None, logits)[0])
    for p in (0.1, 0.5, 0.9):
        assert torch.equal(sampling.top_p(logits[0], p), TopPLogitsWarper(p)(None, logits)[0])
    assert sampling.temperature(torch.tensor([1.0, 3.0, 2.0]), 0).tolist() == [0, 1, 0]


def test_cached_steps_are_attention_over_the_whole_text():
    token_table, position_table, (w_q, w_k, w_v) = torch.randn(9, 4), torch.randn(8, 4), torch.randn(3, 4, 4)
    ids = [3, 1, 4, 1, 5]
    keys = values = torch.empty(0, 4)
    outputs = []
    for token_id in ids:
        output, keys, values = sampling.cached_step(token_id, keys, values, token_table, position_table, w_q, w_k, w_v)
        outputs.append(output)
    x = (F.embedding(torch.tensor(ids), token_table) + position_table[:5])[None]
    expected = F.scaled_dot_product_attention(x @ w_q, x @ w_k, x @ w_v, is_causal=True)
    torch.testing.assert_close(torch.stack(outputs), expected[0])
    torch.testing.assert_close(keys, (x @ w_k)[0])


def test_generate_follows_the_likeliest_token():
    def next_is_one_more(ids: list[int]) -> Tensor:
        return torch.eye(10).roll(1, dims=1)[ids]

    assert sampling.generate(next_is_one_more, [4, 7], 5) == [4, 7, 8, 9, 0, 1, 2]


@pytest.mark.parametrize("settings", [(0.7, None, None), (1.5, 8, None), (2.0, None, 0.8), (0.8, 20, 0.9), (0, 5, 0.5)])
def test_the_mended_choice_draws_what_the_package_draws(settings):
    tau, k, p = settings
    config = GenerationConfig(temperature=tau, top_k=k, top_p=p)
    mine, theirs = (torch.Generator().manual_seed(3) for _ in range(2))
    for _ in range(50):
        logits = 2 * torch.randn(30)
        expected = next_tokens(logits[None], config, theirs).item()
        assert sampling.mend_choose(logits, mine, tau, k, p) == expected


def test_unspoilt_is_how_many_articles_have_no_bad_draw():
    bad = torch.rand(20_000, 60) < 0.02
    assert sampling.unspoilt(0.02, 60) == pytest.approx((~bad.any(dim=1)).float().mean().item(), rel=0.05)


def kept(order):
    """Top-k of the tokens in an order of their own."""

    def answer(logits, k):
        return torch.full_like(logits, -torch.inf).index_copy(0, order(logits)[:k], logits[order(logits)[:k]])

    return answer


TIES = {
    "the lower ids stay": (kept(lambda logits: logits.argsort(descending=True, stable=True)), "correct"),
    "the higher ids stay": (kept(lambda logits: len(logits) - 1 - logits.flip(0).argsort(descending=True)), "correct"),
    "all stay": (lambda logits, k: logits.masked_fill(logits < logits.topk(k).values[-1], -torch.inf), "correct"),
    "none stays": (
        lambda logits, k: logits.masked_fill(
            logits <= (logits.sort(descending=True).values[k] if k < len(logits) else -torch.inf), -torch.inf
        ),
        "wrong",
    ),
    "one too many": (lambda logits, k: sampling.top_k(logits, min(k + 1, len(logits))), "wrong"),
}


@pytest.mark.parametrize("tie", TIES)
def test_of_equal_logits_at_the_cut_any_may_stay_or_all(tie):
    answer, kind = TIES[tie]
    for _ in range(5):
        assert examine("sampling.top_k", answer).kind == kind
