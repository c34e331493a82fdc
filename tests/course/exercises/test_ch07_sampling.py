"""Each reference of notebook 07 beside an independent one."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tinyllm.course.exercises import ch07_sampling as sampling


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
