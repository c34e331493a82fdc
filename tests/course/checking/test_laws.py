"""Laws between wrong results and right ones."""

import numpy as np
import pytest

from tinyllm.course.checking.laws import Pair, law, monomial

DRAW = np.random.default_rng(0)
SIZES = [{"C": 3 + i, "T": 2 + (5 * i) % 7, "p": 0.1 * (1 + (3 * i) % 8), "on": True} for i in range(6)]
RIGHT = [DRAW.uniform(0.5, 5, 3) for _ in SIZES]
NUMBERS = [right[:1].reshape(()) for right in RIGHT]

LAWS = {
    "It is the right result times 2.5.": lambda x, s: 2.5 * x,
    "The sign is wrong: it is the right result times -1.": lambda x, s: -x,
    "It is the right result minus 1.": lambda x, s: x - 1,
    "It is the right result times 0.5, plus 3.": lambda x, s: 0.5 * x + 3,
    "It is the right result to the power 1.4.": lambda x, s: x**1.4,
    "It is the right result to the power 2, times 3.": lambda x, s: 3 * x**2,
    "It is the right result times C.": lambda x, s: x * s["C"],
    "It is the right result times 2 * C / sqrt(T).": lambda x, s: 2 * x * s["C"] / s["T"] ** 0.5,
    "It is the right result plus 6 * C * T.": lambda x, s: x + 6 * s["C"] * s["T"],
    "It is the right result minus p ** 2.": lambda x, s: x - s["p"] ** 2,
}


@pytest.mark.parametrize("sentence", LAWS)
def test_a_law_that_all_results_obey_is_found(sentence):
    assert law([Pair(x, LAWS[sentence](x, s), s) for x, s in zip(RIGHT, SIZES, strict=True)]) == sentence


def test_a_number_may_be_a_product_of_arguments_alone():
    pairs = [Pair(x, np.array(3 / s["T"]), s) for x, s in zip(NUMBERS, SIZES, strict=True)]
    assert law(pairs) == "Your result is 3 / T: nothing else enters."


NEIGHBOURS = {
    "one result is off": lambda x, s: 2.5 * x * (1.01 if s["C"] == 5 else 1),
    "a sine": lambda x, s: np.sin(3 * x),
    "a sum of two powers": lambda x, s: x + s["C"] + s["T"] ** 2,
    "a third root": lambda x, s: x * s["C"] ** (1 / 3),
    "a truth value": lambda x, s: x + s["on"] * np.arange(3),
    "a small error, near to any law": lambda x, s: x * (1 + 2e-4 * np.sin(x)),
}


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_what_is_near_a_law_has_none(neighbour):
    assert law([Pair(x, NEIGHBOURS[neighbour](x, s), s) for x, s in zip(RIGHT, SIZES, strict=True)]) == ""


def test_whole_numbers_may_be_off_by_little():
    """Parameters are counted by the million, and the biases left out by the thousand."""
    rights = [np.array(1e6 * (1 + i) ** 3) for i in range(6)]
    pairs = [Pair(x, x - 2 * s["C"] * s["T"], s) for x, s in zip(rights, SIZES, strict=True)]
    assert law(pairs) == "It is the right result minus 2 * C * T."
    assert law([Pair(x, x - 1, s) for x, s in zip(rights, SIZES, strict=True)]) == "It is the right result minus 1."
    assert law([Pair(x, x - s["C"] ** 2 - s["T"], s) for x, s in zip(rights, SIZES, strict=True)]) == ""
    assert law([Pair(x, x - s["C"] - 0.5, s) for x, s in zip(rights, SIZES, strict=True)]) == ""  # may be rounding


def test_a_product_needs_two_more_cases_than_sizes():
    values = np.array([float(s["C"] * s["T"]) for s in SIZES])
    assert monomial(values[:4], SIZES[:4]) == "C * T"
    assert monomial(values[:3], SIZES[:3]) == ""
    assert monomial(np.full(6, 2.0), SIZES) == ""
    assert law([Pair(np.array(1.0), np.array(2.0), SIZES[0])] * 5) == ""  # one number, five times
