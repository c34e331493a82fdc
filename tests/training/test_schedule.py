"""The learning rate, against its closed form and torch's own cosine."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import TrainingConfig
from tinyllm.training.schedule import learning_rate


def test_the_schedule_equals_its_closed_form_at_start_end_of_warm_up_middle_and_end():
    config = TrainingConfig(max_iterations=1100, warmup_iterations=100, max_learning_rate=1e-3, min_learning_rate=1e-4)
    assert learning_rate(0, config) == pytest.approx(1e-3 / 101)
    assert learning_rate(49, config) == pytest.approx(1e-3 * 50 / 101)
    assert learning_rate(99, config) == pytest.approx(1e-3 * 100 / 101)
    assert learning_rate(100, config) == pytest.approx(1e-3)
    assert learning_rate(350, config) == pytest.approx(1e-4 + 9e-4 * (1 + math.sqrt(0.5)) / 2)  # a quarter: cos 45°
    assert learning_rate(600, config) == pytest.approx(5.5e-4)  # half-way: the mean of both
    assert learning_rate(850, config) == pytest.approx(1e-4 + 9e-4 * (1 - math.sqrt(0.5)) / 2)
    assert learning_rate(1100, config) == pytest.approx(1e-4)
    assert learning_rate(5000, config) == pytest.approx(1e-4)


def test_the_cosine_is_torchs():
    config = TrainingConfig(max_iterations=50, warmup_iterations=0, max_learning_rate=1.0, min_learning_rate=0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    for iteration in range(51):
        assert learning_rate(iteration, config) == pytest.approx(schedule.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        schedule.step()


def test_warmup_stable_decay_equals_its_closed_form():
    config = TrainingConfig(
        schedule="warmup_stable_decay", max_iterations=1000, warmup_iterations=100, decay_fraction=0.3,
        max_learning_rate=1e-3, min_learning_rate=0.0,
    )  # fmt: skip
    assert learning_rate(49, config) == pytest.approx(1e-3 * 50 / 101)
    assert {learning_rate(i, config) for i in range(100, 701)} == {1e-3}
    assert learning_rate(775, config) == pytest.approx(0.75e-3)
    assert learning_rate(850, config) == pytest.approx(0.5e-3)
    assert learning_rate(999, config) == pytest.approx(1e-3 / 300)
    assert learning_rate(1000, config) == learning_rate(5000, config) == 0
    above = dataclasses.replace(config, min_learning_rate=2e-4)
    assert learning_rate(850, above) == pytest.approx(0.6e-3)
    assert learning_rate(1000, above) == pytest.approx(2e-4)
    never = dataclasses.replace(config, decay_fraction=0)
    assert learning_rate(999, never) == 1e-3


@given(st.data(), st.integers(1, 300), st.floats(0, 1))
def test_warmup_stable_decay_climbs_stays_and_falls(data, iterations, share):
    warmup = data.draw(st.none() | st.integers(0, iterations - 1))
    config = TrainingConfig(
        schedule="warmup_stable_decay", max_iterations=iterations, warmup_iterations=warmup, decay_fraction=share,
        max_learning_rate=0.7, min_learning_rate=0.2,
    )  # fmt: skip
    rates = [learning_rate(iteration, config) for iteration in range(iterations + 1)]
    top = config.warmup
    assert rates[top] == max(rates) == pytest.approx(0.7)
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    falling = rates[top:]
    assert all(a >= b for a, b in itertools.pairwise(falling))
    assert sum(rate < 0.7 - 1e-9 for rate in falling) == max(1, min(round(share * iterations), iterations - top))
    assert rates[-1] == pytest.approx(0.2)


@given(st.data(), st.integers(1, 300))
def test_the_schedule_climbs_then_falls_and_stays_between_its_ends(data, iterations):
    warmup = data.draw(st.none() | st.integers(0, iterations - 1))
    config = TrainingConfig(
        max_iterations=iterations, warmup_iterations=warmup, max_learning_rate=0.7, min_learning_rate=0.2
    )
    rates = [learning_rate(iteration, config) for iteration in range(iterations + 1)]
    top = config.warmup
    assert rates[top] == max(rates) == pytest.approx(0.7)
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a > b for a, b in itertools.pairwise(rates[top:]))
    assert min(rates) > 0
    assert rates[-1] == pytest.approx(0.2)
