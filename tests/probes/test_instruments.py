"""What the probes measure with."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tinyllm.probes.instruments import (
    AttentionListener,
    about,
    applied,
    gradient_of,
    learn,
    leaves,
    logits_of,
    mean_loss,
    quiet,
    seeded,
)
from tinyllm.probes.report import IGNORED


class _Table(nn.Module):
    """Logits of a token by itself, thinned out in training."""

    def __init__(self):
        super().__init__()
        self.table, self.dropout = nn.Embedding(9, 9), nn.Dropout(0.5)

    def forward(self, ids):
        return self.dropout(self.table(ids))


def build():
    torch.manual_seed(0)
    model = _Table()
    return model, torch.optim.SGD(model.parameters(), 0.1)


def step(model, optimizer, batches):
    optimizer.zero_grad()
    loss = mean_loss(model, batches)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    optimizer.step()
    return loss.item()


def batch(seed=0, B=2, T=6):
    ids = torch.randint(9, (B, T), generator=torch.Generator().manual_seed(seed))
    return ids, ids.roll(-1, 1)


def test_applied_gradients_are_those_that_reach_the_optimizer():
    loss, (first, second, again) = applied(build, step, [[batch(0)], [batch(1)], [batch(0)]])
    assert first.norm() == pytest.approx(0.01, rel=1e-3)  # clipped, as the optimizer gets it
    assert not torch.equal(first, second)
    assert torch.equal(first, again)  # no step moved a weight, and each drew the same dropout
    model, _ = build()
    with seeded():
        assert loss == mean_loss(model, [batch(0)]).item()


def test_the_mean_loss_counts_each_token_once():
    model = build()[0].eval()
    (ids, targets), small = batch(0), batch(1, B=1, T=3)
    targets = targets.masked_fill(ids < 3, IGNORED)
    losses = [
        F.cross_entropy(model(i).flatten(0, 1), t.flatten(), reduction="none") for i, t in ((ids, targets), small)
    ]
    expected = torch.cat(losses).sum() / ((ids >= 3).sum() + 3)
    assert mean_loss(model, [(ids, targets), small]).item() == pytest.approx(expected.item())


def test_learning_takes_a_share_of_the_rate_and_ends_at_infinity_where_the_step_gives_up():
    rates = []

    def noting(model, optimizer, batches):
        rates.append(optimizer.param_groups[0]["lr"])
        return 10.0 - len(rates)

    assert learn(build, noting, [batch()], 12, 0.5) == (9.0, -2.0)
    assert rates == pytest.approx([0.005 * i for i in range(1, 11)] + [0.05, 0.05])

    def failing(model, optimizer, batches):
        rates.append(0.0)
        if len(rates) == 3:
            raise FloatingPointError
        return 7.0

    rates.clear()
    assert learn(build, failing, [batch()], 12, 1.0) == (7.0, math.inf)
    assert learn(build, lambda *_: math.nan, [batch()], 1, 1.0)[1] == math.inf


def test_a_missing_gradient_counts_as_zero():
    model = nn.Linear(2, 3)
    optimizer = torch.optim.SGD([{"params": [model.weight]}, {"params": [model.bias]}], 0.1)
    model.bias.grad = torch.arange(3.0)
    gradient = gradient_of(optimizer)
    assert gradient.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 2]
    model.bias.grad.zero_()
    assert gradient.tolist()[-1] == 2  # a copy


def test_leaves_are_found_whether_or_not_a_module_lists_them():
    listed, hidden, unused = (nn.Parameter(torch.randn(3)) for _ in range(3))
    fixed = torch.randn(3)
    assert set(leaves((listed * hidden.exp() + fixed).sum())) == {listed, hidden}
    assert unused not in set(leaves(listed.sum()))


def test_a_quiet_pass_leaves_modes_gradients_and_random_numbers_as_they_were():
    model, _ = build()
    model.table.eval()
    state = torch.get_rng_state()
    with quiet(model, seed=3):
        drawn = torch.rand(1)
        assert not model.training
        assert not model.dropout.training
        assert not torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in (model, model.table, model.dropout)] == [True, False, True]
    with seeded(3):
        assert torch.equal(drawn, torch.rand(1))


def test_logits_are_those_of_evaluation_and_come_in_float32():
    model = build()[0].bfloat16()
    ids, _ = batch()
    logits = logits_of(model, ids)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, model.table(ids).float())


def test_a_small_difference_is_not_called_zero():
    assert [about(value) for value in (0.0, 1e-9, 0.25)] == ["0", "less than 0.001", "0.250"]


def test_the_spread_of_attention_is_the_same_fused_and_by_hand():
    q, k, v = torch.randn(3, 2, 3, 7, 5)
    with AttentionListener() as seen:
        F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mask = torch.ones(7, 7, dtype=torch.bool).tril()
        F.scaled_dot_product_attention(q, k, v, mask)
        scores = (q @ k.transpose(-2, -1) / math.sqrt(5)).masked_fill(~mask, -torch.inf)
        scores.softmax(-1)
        F.scaled_dot_product_attention(0 * q, k, v, is_causal=True)  # all even
    p = torch.distributions.Categorical(logits=scores)
    expected = (torch.arange(1.0, 8).log() - p.entropy()).mean().item()
    assert seen.lost == pytest.approx([expected, expected, expected, 0], abs=1e-5)


def test_grouped_heads_spread_as_if_each_had_its_own_keys():
    q, k, v = torch.randn(2, 4, 7, 5), torch.randn(2, 2, 7, 5), torch.randn(2, 2, 7, 5)
    with AttentionListener() as seen:
        F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        F.scaled_dot_product_attention(q, *(t.repeat_interleave(2, dim=1) for t in (k, v)), is_causal=True)
    assert seen.lost[0] == pytest.approx(seen.lost[1])
