"""The healthy training: its step, its loss, its samples, and what it leaves behind."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tinyllm.course.clinic import HEALTHY, VOCABULARY, Training, sample
from tinyllm.course.clinic.healthy import ROWS, clip_and_step, step, token_losses
from tinyllm.course.clinic.small_text import articles, honest_split, one_piece, rows, tokenizer, two_pieces
from tinyllm.probes.report import IGNORED


@pytest.fixture(scope="module")
def record():
    return HEALTHY.train(20, seed=1)


def gradients(model) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_a_step_in_two_pieces_is_the_mean_over_all_their_tokens():
    model, _ = HEALTHY.build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    model.eval()  # without dropout
    batches = two_pieces(rows()[:4])
    loss = step(model, optimizer, batches)
    found = gradients(model)
    optimizer.zero_grad()
    logits = [model(ids).flatten(0, 1) for ids, _ in batches]
    targets = torch.cat([targets.flatten() for _, targets in batches])
    mean = F.cross_entropy(torch.cat(logits), targets, ignore_index=IGNORED)
    mean.backward()
    assert loss == pytest.approx(mean.item(), rel=1e-5)
    norm = math.sqrt(sum(parameter.grad.square().sum() for parameter in model.parameters()))
    for mine, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad * min(1, 1 / norm), atol=1e-6, rtol=1e-3)


def test_a_step_forgets_the_gradients_of_the_last():
    model, _ = HEALTHY.build()
    model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    step(model, optimizer, HEALTHY.batch(0))
    once = gradients(model)
    step(model, optimizer, HEALTHY.batch(0))
    torch.testing.assert_close(gradients(model), once)


@pytest.mark.parametrize(("gradient", "change"), [([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])])
def test_gradients_are_clipped_to_a_norm_of_one(gradient, change):
    weights = torch.nn.Parameter(torch.zeros(2))
    weights.grad = torch.tensor(gradient)
    clip_and_step(torch.optim.SGD([weights], lr=1.0))
    torch.testing.assert_close(weights.detach(), -torch.tensor(change), atol=1e-5, rtol=1e-5)


def test_ignored_targets_cost_nothing():
    class Uniform(torch.nn.Module):
        def forward(self, ids):
            return torch.zeros(*ids.shape, 10)

    losses = token_losses(Uniform(), torch.zeros(1, 3, dtype=torch.long), torch.tensor([[4, IGNORED, 2]]))
    assert losses.tolist() == pytest.approx([math.log(10), 0, math.log(10)])


def test_batches_are_the_training_articles_in_order_over_and_over():
    few = Training(split=lambda: ([5, 6, 7], [8]))
    for index, chosen in enumerate(([5, 6, 7, 5], [6, 7, 5, 6])):
        ((ids, targets),) = few.batch(index)
        ((expected_ids, expected_targets),) = one_piece([rows()[article] for article in chosen])
        assert len(ids) == ROWS
        assert torch.equal(ids, expected_ids) and torch.equal(targets, expected_targets)


def test_the_floor_is_the_entropy_of_the_held_out_articles():
    _, held_out = honest_split()
    nats = [articles()[article].nats for article in held_out]
    tokens = [len(tokenizer().encode(articles()[article].text)) + 1 for article in held_out]
    assert HEALTHY.floor() == pytest.approx(sum(nats) / sum(tokens))


def test_a_record_says_what_happened(record):
    assert record.of is HEALTHY
    assert len(record.training) == 21
    assert record.at == [0, 20]
    assert record.held_out[0] == pytest.approx(math.log(VOCABULARY), abs=0.2)
    assert HEALTHY.floor() < record.held_out[1] < record.held_out[0] - 1
    assert record.held_out[1] == pytest.approx(HEALTHY.held_out_loss(record.model), abs=0.5)


def test_the_same_seed_gives_the_same_training_whatever_the_global_generator_says(record):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    again = HEALTHY.train(20, seed=1)
    assert again.training == record.training
    assert torch.equal(torch.get_rng_state(), state)
    assert HEALTHY.train(20, seed=2).training != record.training


def test_the_rate_warms_up_and_stays():
    rates = []

    def watch(model, optimizer, batches):
        rates.append(optimizer.param_groups[0]["lr"])
        return 0.0

    dataclasses.replace(HEALTHY, step=watch).train(20)
    assert rates == pytest.approx([0.003] + [0.006] * 20)


def test_evaluating_and_sampling_leave_the_model_in_its_mode(record):
    for training in (True, False):
        record.model.train(training)
        HEALTHY.held_out_loss(record.model)
        assert record.sample(20) == sample(record.model, 20)
        assert all(module.training == training for module in record.model.modules())


def test_a_sample_is_at_most_as_long_as_asked_for_and_ends_with_the_article(record):
    assert sample(record.model, 30, seed=1) != sample(record.model, 30, seed=2)
    assert len(tokenizer().encode(sample(record.model, 5))) <= 5

    class Ends(torch.nn.Module):
        def forward(self, ids, past):
            return F.one_hot(torch.full_like(ids, tokenizer().end_of_text_id), VOCABULARY) * 100.0

    assert sample(Ends()) == ""


def test_the_subject_is_this_training(record):
    subject = record.subject()
    assert subject.model is record.model
    assert subject.first_loss == record.training[0]
    assert subject.floor == (record.held_out[-1], HEALTHY.floor(), 0.0)
    train, held_out = subject.texts
    assert held_out.dtype == np.uint16
    assert held_out.tolist() == [token for article in honest_split()[1] for token in rows()[article]]
    assert len(train) == sum(len(rows()[article]) for article in honest_split()[0])
    fresh, _ = subject.build()
    again, _ = HEALTHY.build(1)
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), again.parameters(), strict=True))
