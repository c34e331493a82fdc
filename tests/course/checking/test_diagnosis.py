"""A wrong answer is recognised by its results."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
import torch

from tinyllm.course.checking.diagnosis import Judged, diagnose, same
from tinyllm.course.checking.faults import Fault
from tinyllm.course.checking.registry import Exercise, Observed, call
from tinyllm.course.checking.trials import try_answer, try_case, try_reference

CASES = [(1,), (2,), (3,)]


def exercise(*mistakes, observe=call):
    return Exercise(lambda x: 2 * x, lambda: CASES, observe, "A hint.", "A reason.", list(mistakes))


def told(exercise, answer, cases=CASES, **settings):
    """The diagnosis of an answer."""
    judged = []
    for case in cases:
        expected = try_reference(exercise, case)
        judged.append(Judged(case, expected, try_answer(exercise, answer, case, expected), None))
    return diagnose(exercise, judged, **settings)


def fails(x):
    raise ValueError(f"no {x}")


def test_the_mistake_with_the_same_results_in_every_case_is_the_diagnosis():
    known = exercise((lambda x: x + 1, "Adds."), (lambda x: x**2, "Squares."))
    assert told(known, lambda x: x**2) == "Squares."
    assert told(known, lambda x: x + 1) == "Adds."
    assert told(known, lambda x: 5 * x) == ""
    assert told(known, lambda x: x + 1 if x < 3 else 0) == ""  # alike in two cases of three


def test_no_diagnosis_is_given_that_might_be_untrue():
    two = exercise((lambda x: x**2, "Squares."), (lambda x: x * x, "Multiplies."))
    assert told(two, lambda x: x**2) == ""


def test_clues_tell_mistakes_with_the_same_value_apart():
    def observe(function, x):
        calls = []
        return Observed(function(x, calls), {"number of calls": len(calls)})

    def never(x, calls):
        return 0

    def once(x, calls):
        calls.append(x)
        return 0

    known = exercise((never, "Never."), (once, "Once."), observe=observe)
    known = dataclasses.replace(known, reference=lambda x, calls: 2 * x)
    assert told(known, once) == "Once."
    assert told(known, never) == "Never."


def test_side_effects_are_compared_where_the_values_are_right():
    def extends(numbers):
        numbers.append(0)
        return numbers[0]

    known = exercise((extends, "Extends."))
    known = dataclasses.replace(known, reference=lambda numbers: numbers[0])
    assert told(known, extends, [([1],)], side_effects=True) == "Extends."
    assert told(known, lambda numbers: numbers[0], [([1],)], side_effects=True) == ""


def test_an_answer_that_fails_as_a_mistake_does_has_made_it():
    known = exercise((fails, "Fails."))
    assert told(known, fails) == "Fails."
    assert told(known, lambda x: {}[x]) == ""


def test_what_is_observed_is_compared_and_cases_stay_as_they_are():
    def first_after(function, numbers):
        function(numbers)
        return numbers[0]

    known = exercise((lambda numbers: numbers.insert(0, 7), "Inserts."), observe=first_after)
    known = dataclasses.replace(known, reference=lambda numbers: numbers)
    cases = [([1, 2],)]

    def answer(numbers):
        numbers[0] = 7

    assert told(known, answer, cases) == "Inserts."
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


def test_an_answer_that_takes_care_of_a_case_in_which_the_mistake_fails_makes_it_all_the_same():
    known = exercise((lambda x: 6 // (x - 1), "Divides."), (fails, "Fails."))
    answer = lambda x: 6 // (x - 1) if x != 1 else 2  # noqa: E731
    judged = []
    for case in CASES:
        expected, got = try_reference(known, case), try_case(known, answer, case)
        judged.append(Judged(case, expected, got, None if case == (1,) else Fault("wrong", "")))
    assert diagnose(known, judged) == "Divides."
    assert diagnose(known, [dataclasses.replace(one, fault=None) for one in judged]) == ""
