"""What a slip may make of a value, and that its words say so."""

import math

import pytest
import torch

from tinyllm.course.checking.transformations import FUNCTIONS, TRANSFORMATIONS

X = torch.tensor([[3.0, 4.0], [-1.0, 0.5]])
MADE = {  # of a number, a tensor or a list, by the words
    "twice {}": (3, 6),
    "half of {}": (5.0, 2.5),
    "the square of {}": (X, X * X),
    "the root of {}": (9.0, 3.0),
    "-1 times {}": (X, -X),
    "{} without its sign": (-2, 2),
    "1 over {}": (4, 0.25),
    "1 - {}": (0.25, 0.75),
    "{} + 1": (X, X + 1),
    "{} - 1": (7, 6),
    "0 times {}": (X, torch.zeros(2, 2)),
    "{} to the power 0": (X, torch.ones(2, 2)),
    "exp of {}": (0.0, 1.0),
    "the logarithm of {}": (math.e, 1.0),
    "{} rounded to whole numbers": (2.6, 3),
    "{}, at most 1,": (X, torch.tensor([[1.0, 1.0], [-1.0, 0.5]])),
    "{}, at least 0,": (-3.0, 0),
    "{}, at least 1,": (X, torch.tensor([[3.0, 4.0], [1.0, 1.0]])),
    "{} transposed": (X, X.T),
    "{} in reverse order": ([1, 2, 3], [3, 2, 1]),
    "{} in reverse order along its last dimension": (X, X[:, [1, 0]]),
    "{} sorted": ([2, 3, 1], [1, 2, 3]),
    "{} without its first": ([1, 2, 3], [2, 3]),
    "{} without its last": (b"abc", b"ab"),
    "{} moved on by one along its first dimension": ([1, 2, 3], [3, 1, 2]),
    "{} moved on by one along its second dimension": (X, X[:, [1, 0]]),
    "the first of {} alone: the others count too": (X, X[[0, 0]]),
    "the last of {} alone: the others count too": ([1, 2], [2]),
    "the mean of all {}": (X, torch.full((2, 2), 6.5 / 4)),
    "the mean of {} along its last dimension": (X, torch.tensor([[3.5, 3.5], [-0.25, -0.25]])),
    "the mean of {} along its second dimension from the last": (X, torch.tensor([[1.0, 2.25], [1.0, 2.25]])),
    "{} summed up along its last dimension, step by step,": (X, torch.tensor([[3.0, 7.0], [-1.0, -0.5]])),
    "the softmax of {}": (torch.zeros(4), torch.full((4,), 0.25)),
    "{} divided by its length": (X[0], torch.tensor([0.6, 0.8])),
    "tanh of {}": (0.0, 0.0),
}


@pytest.mark.parametrize("words", TRANSFORMATIONS)
def test_a_transformation_makes_what_its_words_say(words):
    value, made = MADE[words]
    found = FUNCTIONS[TRANSFORMATIONS[words]](value)
    assert torch.equal(found, made) if isinstance(made, torch.Tensor) else found == made


@pytest.mark.parametrize("words", ["twice {}", "{} + 1", "1 - {}", "0 times {}", "tanh of {}"])
@pytest.mark.parametrize("value", [True, torch.ones(2) > 0, "text", [1, 2], None], ids=repr)
def test_what_is_no_number_is_not_computed_with(words, value):
    with pytest.raises(TypeError):
        FUNCTIONS[TRANSFORMATIONS[words]](value)
