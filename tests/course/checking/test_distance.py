"""How far results are apart, and what explains an error."""

import math

import pytest
import torch

from tinyllm.course.checking.distance import distance, explains
from tinyllm.course.checking.judging import examine


def test_it_is_the_largest_difference_as_a_share_of_the_size():
    assert distance(1.0, 1.0) == 0
    assert distance([1.0, 3.0], [1.0, 1.0]) == pytest.approx(0.5)
    assert distance((torch.ones(2), {"a": 2}), (torch.ones(2), {"a": 2})) == 0
    assert distance(torch.tensor([math.nan, -math.inf]), torch.tensor([math.nan, -math.inf])) == 0
    assert distance(1.0, math.inf) == math.inf
    assert distance(torch.ones(2), torch.ones(3)) == math.inf
    assert (distance("text", "text"), distance(b"one", b"other")) == (0, math.inf)


def test_an_error_is_explained_by_what_is_much_nearer_than_the_right_result():
    assert explains(1.0002, 1.0002, expected=1.0)
    assert not explains(1.0001, 1.0002, expected=1.0)  # alike but for rounding, and no nearer to one than to the other
    assert explains([b"b"], [b"b"], expected=[b"a"])


def test_nan_and_overflow_are_explained_by_nothing():
    nan, inf = math.nan, math.inf
    assert not explains([nan, 1.0], [nan, 1.0], expected=[2.0, 1.0])
    assert not explains([inf, 1.0], [inf, 1.0], expected=[2.0, 1.0])
    assert not explains([nan], [nan], expected=[2.0, 1.0])
    assert explains([nan, 3.0], [nan, 3.0], expected=[2.0, 1.0])
    assert explains([-inf, 1.0], [-inf, 1.0], expected=[2.0, 1.0])


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("attention.attention_weights", lambda scores, mask: scores * torch.nan),
        ("modern.rms_norm", lambda x, weight, eps=1e-5: x * torch.nan),
        ("data.cross_entropy", lambda logits, targets: logits.sum() * torch.nan),
        ("scaling.compute_optimal", lambda flops, ratio=20.0: (math.inf, math.inf)),
    ],
)
def test_what_a_nan_comes_from_is_not_guessed(name, answer):
    assert examine(name, answer).diagnosis == ""
