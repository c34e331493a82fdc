"""Parameter groups and the learning-rate schedule, against what their descriptions say."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import GPT, TrainingConfig
from tinyllm.optim import learning_rate, make_optimizer, parameter_groups


def test_only_matrices_decay_and_each_parameter_is_in_one_group(tiny_config):
    model = GPT(tiny_config)
    decayed, kept = parameter_groups(model, 0.3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    placed = [names[id(parameter)] for group in (decayed, kept) for parameter in group["params"]]
    assert sorted(placed) == sorted(names.values())
    matrices = ("embedding.weight", "qkv.weight", "projection.weight", "expand.weight")
    assert sorted(names[id(p)] for p in decayed["params"]) == sorted(n for n in names.values() if n.endswith(matrices))
    assert all("norm" in names[id(p)] or names[id(p)].endswith("bias") for p in kept["params"])


def test_frozen_parameters_are_left_out(tiny_config):
    model = GPT(tiny_config)
    model.token_embedding.weight.requires_grad_(False)
    model.final_norm.bias.requires_grad_(False)
    placed = {id(parameter) for group in parameter_groups(model, 0.1) for parameter in group["params"]}
    assert placed == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_a_step_is_adamws(tiny_config):
    """Two steps by the paper's formulas: averages, bias correction, decay apart from the gradient."""
    config = TrainingConfig(max_learning_rate=0.01, min_learning_rate=0.0, weight_decay=0.5, betas=(0.8, 0.9))
    torch.manual_seed(0)
    model = GPT(tiny_config)
    optimizer = make_optimizer(model, config)
    for name in ("blocks.0.feedforward.expand.weight", "blocks.1.attention_norm.weight"):
        parameter = model.get_parameter(name)
        expected = parameter.detach().double().clone()
        decay = 0.5 if parameter.dim() == 2 else 0.0
        first, second = torch.zeros_like(expected), torch.zeros_like(expected)
        for step in (1, 2):
            optimizer.zero_grad()
            parameter.grad = torch.randn_like(parameter)
            optimizer.step()
            first = 0.8 * first + 0.2 * parameter.grad
            second = 0.9 * second + 0.1 * parameter.grad**2
            update = (first / (1 - 0.8**step)) / ((second / (1 - 0.9**step)).sqrt() + 1e-8)
            expected = expected - 0.01 * (update + decay * expected)
        torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize(
    ("iterations", "warmup"), [(100_000, 2000), (200_000, 2000), (99_999, 1999), (1000, 20), (49, 0), (1, 0)]
)
def test_default_warm_up_is_a_fiftieth_of_the_run_and_2000_at_most(iterations, warmup):
    assert TrainingConfig(max_iterations=iterations).warmup == warmup


def test_a_warm_up_that_is_given_is_used():
    assert TrainingConfig(max_iterations=100, warmup_iterations=7).warmup == 7
    assert TrainingConfig(max_iterations=100_000, warmup_iterations=0).warmup == 0
