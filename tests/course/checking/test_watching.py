"""What a call does besides its result."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from tinyllm.course.checking.watching import Watched, global_settings, restore


def model_in_evaluation(model):
    model.eval()


def adds_a_gradient(model):
    model.weight.grad = torch.ones(2, 2)


def changes_a_buffer(model):
    model.running_mean += 1


def fill(x):
    x[0] = 5


@pytest.mark.parametrize(
    ("function", "argument", "changed"),
    [
        (fill, torch.zeros(3), {"x"}),
        (fill, np.zeros(3), {"x"}),
        (fill, [0, 1], {"x"}),
        (lambda x: x[0].append(1), ([],), {"x"}),
        (lambda x: x.update(a=1), {"a": 2}, {"x"}),
        (lambda x: x.sort(), [2, 1], {"x"}),
        (model_in_evaluation, nn.Linear(2, 2), {"x.training"}),
        (adds_a_gradient, nn.Linear(2, 2), {"x.weight.grad"}),
        (changes_a_buffer, nn.BatchNorm1d(2), {"x.running_mean"}),
        (lambda x: x.add_(torch.nan).sub_(1), torch.full((2,), torch.nan), set()),
        (lambda x: sorted(x), [2, 1], set()),
        (lambda x: x * 2, torch.ones(2), set()),
    ],
)
def test_what_it_alters_is_named(function, argument, changed):
    watched = Watched(function, ["x"])
    watched(argument)
    assert watched.changed == changed
    assert len(watched.results) == 1


def test_an_argument_that_contains_itself_can_be_watched():
    watched = Watched(lambda x: x.append(x), ["x"])
    watched([1])
    assert watched.changed == {"x"}


@pytest.mark.parametrize(
    ("function", "changes"),
    [
        (lambda: torch.rand(1), {"torch's random generator"}),
        (lambda: np.random.rand(), {"numpy's random generator"}),
        (random.random, {"Python's random generator"}),
        (lambda: torch.set_default_dtype(torch.float64), {"the default dtype"}),
        (lambda: torch.set_grad_enabled(False), {"the gradient mode"}),
        (lambda: random.Random(0).random(), set()),
        (lambda: torch.rand(1, generator=torch.Generator()), set()),
    ],
)
def test_global_changes_are_named_and_settings_put_back(function, changes):
    before = global_settings()
    watched = Watched(function, [])
    watched()
    assert watched.global_changes == changes
    assert global_settings() == before


def test_seeding_is_told_from_drawing():
    watched = Watched(lambda: torch.manual_seed(3), [])
    watched()
    torch.rand(1)
    watched()
    assert "the seed of torch's random generator" in watched.global_changes


def test_settings_are_restored():
    before = global_settings()
    torch.set_default_dtype(torch.float64)
    restore(before)
    assert torch.get_default_dtype() == torch.float32
