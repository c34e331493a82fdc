"""What is at fault in one case, in a sentence."""

import random

import pytest
import torch

from tinyllm.course.checking.faults import narrow_fault, side_effect, value_fault
from tinyllm.course.checking.registry import Exercise, call
from tinyllm.course.checking.trials import Trial, try_answer, try_reference

DOUBLE = Exercise(lambda x: 2 * x, list, call, "A hint.", "A reason.")
X = torch.arange(1.0, 4)


def changes(x):
    y = 2 * x
    x.zero_()
    return y


def changes_the_dtype(x):
    torch.set_default_dtype(torch.float64)
    return 2 * x


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x + x, None),
        (changes, "changes its argument `x`. Work on a copy."),
        (changes_the_dtype, "changes the default dtype"),
        (lambda x: random.random() * 0 + 2 * x, "seeds or draws from Python's random generator"),
        (lambda x: 2 * x.detach(), "they carry no gradients"),
        (lambda x: torch.cat([2 * x[:1].detach(), 2 * x[1:]]), "the gradient that reaches `x` is not"),
    ],
)
def test_a_right_value_may_have_side_effects(answer, words):
    expected = try_reference(DOUBLE, (X,))
    got = try_answer(DOUBLE, answer, (X,), expected)
    assert value_fault(expected, got, answer) is None
    fault = side_effect(expected, got)
    assert (fault is None) if words is None else (words in fault.sentence)


class Hostile:
    """Raises whatever one asks of it."""

    def __eq__(self, other):
        raise ValueError("no")

    __len__ = __iter__ = __repr__ = __bool__ = __hash__ = __eq__


class HostileList(list):
    def __len__(self):
        raise ValueError("no")


class Tensor:
    """Has the name of another."""


endless: dict = {}
endless["self"] = endless


@pytest.mark.parametrize(
    "value",
    [
        Hostile(), HostileList([1]), Tensor(), endless, iter([1]), (x for x in "ab"), X.to_sparse(), X.to("meta"),
        torch.sparse_coo_tensor(size=(3,)), [Hostile()] * 3, X + 1j, range(10**9), set(), type, 10**1000, float("inf"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
@pytest.mark.parametrize("expected", [X, 1.5, 3, [1, 2, 3], ([1], 2), {"a": X}, "text", True], ids=repr)
def test_any_odd_result_is_a_fault_in_one_short_sentence(value, expected):
    fault = value_fault(Trial(value=expected), Trial(value=value), lambda: None)
    assert fault.kind in ("unusable", "wrong")
    assert len(fault.sentence) < 200 and "\n" not in fault.sentence


def test_fewer_digits_than_the_inputs_have_are_a_fault():
    double = Trial(value=X.double())
    assert narrow_fault(double, Trial(value=X)).sentence.startswith("your result is in torch.float32")
    assert narrow_fault(double, double) is None
