"""Values in a few words."""

import pytest
import torch
from torch import nn

from tinyllm.course.checking.showing import kind_of, show


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "None"), (3, "an int"), (1.5, "a float"), (torch.ones(2), "a Tensor"), ([], "a list")]
)
def test_a_type_has_its_article(value, kind):
    assert kind_of(value) == kind


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1 / 3, "0.3333"),
        ([1, 2.0], "[1, 2]"),
        (torch.tensor([[1.0, 2.5]]), "tensor (1, 2) [[1, 2.5]]"),
        (torch.arange(30), "tensor (30,), it begins [0, 1, 2, 3, 4, 5]"),
        (nn.Parameter(torch.ones(1)), "tensor (1,) [1]"),
        (lambda x: x, "a function"),
        (list(range(20)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...]"),
    ],
)
def test_a_value_is_shown_in_short(value, shown):
    assert show(value) == shown


def test_long_broken_and_endless_values_are_shown_on_one_short_line():
    class Broken:
        def __repr__(self):
            raise RuntimeError("no text")

    endless = []
    endless.append(endless)
    for value in ("a" * 1000, nn.Sequential(*(nn.Linear(2, 2) for _ in range(20))), Broken(), endless):
        assert len(show(value)) < 150
        assert "\n" not in show(value)
