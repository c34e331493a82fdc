"""The probes of a model, where what they should find follows from a formula."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tinyllm import GPT, PRESETS
from tinyllm.probes.model_probes import attention, cache, causality, dropout, first_loss, head, shift


def test_no_attention_is_no_problem(tiny_config):
    assert attention(nn.Embedding(9, 9), torch.zeros(1, 4, dtype=torch.long)).ok is None
    assert attention(GPT(tiny_config), torch.zeros(1, 4, dtype=torch.long)).ok


@pytest.mark.parametrize("preset", PRESETS)
def test_scores_that_are_not_divided_are_found_in_every_preset(preset, monkeypatch):
    """Weights drawn small hide it from a look at how narrow attention is: 0.1 nats in the small presets."""
    torch.manual_seed(0)
    model, ids = GPT(replace(PRESETS[preset].model, vocab_size=300)), torch.arange(64)[None]
    assert attention(model, ids).ok
    true = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **named: true(*a, **named, scale=1.0))
    found = attention(model, ids)
    assert found.ok is False
    assert float(found.found.split()[2]) == pytest.approx(math.sqrt(model.config.head_dim), rel=0.05)


class _ByHand(nn.Module):
    """Attention in other people's notebooks: where they divide, and what they add to the scores."""

    def __init__(self, before=1.0, after=1.0, narrow=1.0, slope=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.query, self.key = nn.Embedding(300, 64), nn.Linear(64, 64), nn.Linear(64, 64)
        self.before, self.after, self.narrow, self.slope = before, after, narrow, slope

    def forward(self, ids):
        x = self.table(ids) * self.narrow
        scores = (self.query(x) * self.before) @ self.key(x).transpose(1, 2) * self.after
        T = ids.shape[1]
        scores = scores + self.slope * (torch.arange(T) - torch.arange(T)[:, None])
        return scores.masked_fill(torch.ones(T, T).triu(1) > 0, -torch.inf).softmax(-1) @ x


@pytest.mark.parametrize(
    ("forms", "ok", "scale"),
    [
        ({"after": 1 / 8}, True, 1.0), ({"before": 1 / 8}, True, 1.0), ({"narrow": 0.02}, False, 8.0),
        ({"after": 1 / 8, "slope": 0.1}, True, None), ({"after": 1 / 64}, True, 1 / 8),
    ],
)  # fmt: skip
def test_the_scale_counts_wherever_it_is_applied(forms, ok, scale):
    found = attention(_ByHand(**forms), torch.arange(64)[None])
    assert found.ok is ok, found
    if scale is None:
        assert found.found.startswith("their scale could not be seen")
    else:
        assert float(found.found.split()[2]) == pytest.approx(scale, rel=0.05)


def test_an_untied_head_is_a_choice_and_a_copy_is_not():
    model = nn.ModuleList([nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)])
    assert head(model).ok
    model[1].weight.data.copy_(model[0].weight.data)
    assert not head(model).ok
    model[1].weight.data = model[0].weight.data  # two names for one piece of memory
    assert head(model).ok
    model[1].weight = model[0].weight
    assert head(model).ok


@pytest.mark.parametrize("position", [1, 8, 15])
def test_one_position_seen_from_the_one_before_it_is_enough(position):
    class Leaks(nn.Module):
        def forward(self, ids):
            logits = torch.zeros(*ids.shape, 20)
            logits[:, position - 1, 7] = ids[:, position]
            return logits

    assert causality(Leaks(), torch.arange(16)[None]).ok is False


def test_a_cache_must_give_the_logits_of_a_single_pass():
    model, ids = nn.Embedding(9, 9), torch.arange(8)[None]
    assert cache(model, None, ids).ok is None
    assert cache(model, lambda model, ids: model(ids), ids).ok
    assert cache(model, lambda model, ids: model(ids) + 0.02, ids).ok is False


def test_dropout_must_end_with_training():
    ids = torch.arange(8)[None]
    model = nn.Sequential(nn.Embedding(9, 9), nn.Dropout(0.5))
    assert dropout(model, ids).ok
    model[1].forward = F.dropout  # its argument `training` is True by default
    assert dropout(model, ids).ok is False


class _Says(nn.Module):
    """Logits that find the token at t + offset likely, by so many nats more than the others."""

    def __init__(self, offset, nats):
        super().__init__()
        self.offset, self.nats = offset, nats

    def forward(self, ids):
        return self.nats * F.one_hot(ids.roll(-self.offset, 1), 50).float()


def test_targets_are_judged_by_what_training_taught_not_by_what_a_tied_head_says_anyway():
    ids = torch.randint(50, (2, 64), generator=torch.Generator().manual_seed(0))
    even, copies, both = _Says(0, 0.0), _Says(0, 4.0), nn.Module()
    both.forward = lambda ids: 4.1 * F.one_hot(ids, 50).float() + 4.0 * F.one_hot(ids.roll(-1, 1), 50).float()
    assert shift(both, copies, ids).ok  # says the token it reads a little louder, as it did before
    assert shift(_Says(1, 5.0), even, ids).ok
    assert shift(copies, copies, ids).ok is None
    assert shift(copies, even, ids).ok is False
    found = shift(_Says(2, 5.0), even, ids)
    assert found.ok is False
    assert "has taught the model the next token but one: from 3.91 to" in found.found
    assert shift(_Says(1, 0.2), even, ids).ok is None


def test_a_first_loss_may_be_too_high_too_low_or_recorded_wrongly():
    ids, even = torch.arange(48)[None].repeat(2, 1), _Says(0, 0.0)
    uniform = math.log(50)
    assert first_loss(even, ids, ids).ok
    assert first_loss(even, ids, ids, 1.1 * uniform).ok
    for wrong in (0.8 * uniform, 1.2 * uniform, 2 * uniform):
        found = first_loss(even, ids, ids, wrong)
        assert found.ok is False
        assert "how the run averages" in found.advice
    assert "the very tokens" in first_loss(_Says(0, 4.0), ids, ids).advice
    assert "too large" in first_loss(_Says(1, 4.0), ids, ids).advice
