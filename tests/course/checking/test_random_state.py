"""Random numbers inside are new, and outside they go on as if nothing had been drawn."""

import random

import numpy as np
import pytest
import torch

from tinyllm.course.checking.random_state import own_random_state


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()


def seed():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def test_random_numbers_outside_are_those_that_would_have_come_anyway():
    seed()
    expected = draw()
    seed()
    with own_random_state():
        draw()
    assert draw() == expected


def test_also_after_an_error():
    seed()
    expected = draw()
    seed()
    with pytest.raises(ZeroDivisionError), own_random_state():
        draw()
        1 / 0  # noqa: B018
    assert draw() == expected


def test_random_numbers_inside_are_new_each_time():
    drawn = []
    for _ in range(2):
        seed()
        with own_random_state():
            drawn.append(draw())
    assert all(one != other for one, other in zip(*drawn, strict=True))
