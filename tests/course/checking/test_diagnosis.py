"""A wrong answer is recognised by its results."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from tinyllm.course.checking.diagnosis import diagnose, same
from tinyllm.course.checking.registry import Exercise, call

CASES = [(1,), (2,), (3,)]


def exercise(*mistakes, observe=call):
    return Exercise(lambda x: 2 * x, lambda: CASES, observe, "A hint.", "A reason.", list(mistakes))


def fails(x):
    raise ValueError(f"no {x}")


def test_the_first_mistake_with_the_same_results_in_every_case_is_the_diagnosis():
    known = exercise((lambda x: x + 1, "Adds."), (lambda x: x**2, "Squares."), (lambda x: x * x, "Multiplies."))
    assert diagnose(known, CASES, lambda x: x**2) == "Squares."
    assert diagnose(known, CASES, lambda x: x + 1) == "Adds."
    assert diagnose(known, CASES, lambda x: 5 * x) == ""
    assert diagnose(known, CASES, lambda x: x + 1 if x < 3 else 0) == ""  # alike in two cases of three


def test_an_answer_that_fails_as_a_mistake_does_has_made_it():
    known = exercise((fails, "Fails."))
    assert diagnose(known, CASES, fails) == "Fails."
    assert diagnose(known, CASES, lambda x: {}[x]) == ""


def test_what_is_observed_is_compared_and_cases_stay_as_they_are():
    def first_after(function, numbers):
        function(numbers)
        return numbers[0]

    known = exercise((lambda numbers: numbers.insert(0, 7), "Inserts."), observe=first_after)
    cases = [([1, 2],)]

    def answer(numbers):
        numbers[0] = 7

    assert diagnose(known, cases, answer) == "Inserts."
    assert cases == [([1, 2],)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1.00001),
        (math.nan, math.nan),
        (3, np.int64(3)),
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.00001, torch.nan])),
        ({"a": 1}, Counter("a")),
        ([1, (2.0, "b")], [1, [2.0, "b"]]),
        (1.5, torch.tensor(1.5)),
        ([1, 2], np.array([1, 2])),
        (ValueError("no"), ValueError("no")),
        (None, None),
    ],
)
def test_these_are_the_same(one, other):
    assert same(one, other) is True
    assert same(other, one) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1.001),
        (1, True),
        (1, "1"),
        (torch.ones(2), torch.ones(2, 1)),
        (torch.ones(2), torch.ones(2).double()),
        ({"a": 1}, {"b": 1}),
        ([1], [1, 2]),
        (ValueError("no"), ValueError("yes")),
        (ValueError("no"), TypeError("no")),
        (None, 0),
    ],
)
def test_these_are_not_the_same(one, other):
    assert same(one, other) is False
    assert same(other, one) is False
