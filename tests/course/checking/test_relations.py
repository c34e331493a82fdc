"""How two results are related, in a sentence."""

import math

import numpy as np
import pytest
import torch

from tinyllm.course.checking.relations import Chance, Place, relations

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)) + 0.1
SQUARE = torch.arange(9.0).view(3, 3) + 1
MASK = torch.ones(3, 3).tril().bool()


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (X, 2.5 * X, "times 2.5"),
        (X, -X, "sign is wrong"),
        (X, 3 * X, "times T: is a division missing"),
        (X, X / 3, "divided by T"),
        (X, X * math.sqrt(3), "times the root of T"),
        (X, X / math.log(2), "logarithms to the base 2"),
        (X, X + 1.5, "too large by 1.5"),
        (X, X.exp(), "exp of the right result"),
        (X, 0 * X, "zero everywhere"),
        (X, X.abs(), "without its signs"),
        (SQUARE, SQUARE.T, "transposed"),
        (X, X.T, "dimensions in the order (1, 0)"),
        (X, X.flip(0), "reverse order along dimension 0"),
        (X, X.roll(1, 0), "shifted by one place along dimension 0"),
        (X, X[[1, 0, 2]], "rows are right but stand in another order"),
        (X, torch.cat([X[:2], 5 * X[2:]]), "Only [-1, :] is wrong."),
        (X, torch.cat([X[:1], 5 * X[1:] + 3]), "[0, :] is right, and every one after it is wrong"),
        (SQUARE, SQUARE + torch.eye(3), "only on the diagonal"),
        (SQUARE, SQUARE + torch.ones(3, 3).triu(1) * X[:, :3], "only above the diagonal"),
        (X, X[None], "dimensions of size 1"),
        (X, X[:2], "Its end is missing: the last one."),
        (X, X.mean(0), "mean of the right result over dimension 0"),
        (MASK, ~MASK, "exchanged"),
        (MASK, MASK.T, "transposed"),
        (MASK, torch.ones(3, 3), "True everywhere"),
        ([1, 2, 3], [2, 3], "beginning is missing"),
        ([1, 2, 3], [1, 2, 3, 4], "after the right result"),
        (["a", "b", "c", "d"], ["d", "c", "b", "a"], "reverse order"),
        (([1], [2, 3]), ([2, 3], [1]), "another order"),
        ("abc", "ab", "end is missing"),
        ("A b ", "A b", "without the blanks at its end"),
        ("A b", "a b", "in lower case"),
        ("a\ufffdb", "ab", "without its U+FFFD"),
        ([b"a", b"b"], [], "empty"),
        ({("a", "b"): 1}, {("b", "a"): 1}, "turned round"),
        ({"a": 1, "b": 2}, {"a": 1}, "Keys are missing: one."),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "1 of its values is wrong, 1 right."),
        (0.5, 2.0, "numerator and denominator"),
    ],
)
def test_the_first_sentences_say_how_they_are_related(expected, got, words):
    assert any(words in sentence for sentence in relations(expected, got, {"T": 3})[:3])


@pytest.mark.parametrize("got", [torch.randn(3, 4), X.sum(), None, "text", [1, [2]], object(), np.array(["a"])])
def test_nothing_is_said_that_does_not_hold(got):
    assert relations(X, got, {"T": 3}) == []
    assert relations({"a": 1}, got, {}) == []


def test_what_so_few_numbers_obey_by_chance_is_marked():
    few, many = relations([4, 1], [1, 4], {}), relations([4, 1, 7, 8], [8, 7, 1, 4], {})
    assert "It is the right result in reverse order." in few
    assert all(isinstance(one, Chance) for one in few)
    assert not any(isinstance(one, Chance) for one in many)


def test_what_is_wrong_of_several_things_is_said_in_full_or_not_at_all():
    right = {"a": 1.0, "b": 2.0, "c": 3.0}
    said = relations(right, {"a": 5.0, "b": 7.0, "c": 3.0}, {})
    assert said == ["What is wrong: a, b.", "2 of its values are wrong, 1 right."]
    assert all(isinstance(one, Place) for one in said)
    assert relations(right, {"a": 5.0, "b": 7.0, "c": 4.0}, {}) == []
    assert (
        relations({"it holds": True, "n": 1}, {"it holds": False, "n": 1}, {})[0] == "It does not hold that it holds."
    )
