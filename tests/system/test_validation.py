"""Checks of settings: what passes, what is refused, and what the refusal says."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tinyllm.system.validation import (
    LARGEST,
    is_whole,
    near_names,
    plain,
    require,
    require_choice,
    require_flag,
    require_number,
    require_positive,
    require_seed,
    require_whole,
)


def settings(value: object) -> SimpleNamespace:
    return SimpleNamespace(size=value, other=value)


def test_a_condition_that_fails_names_the_setting_the_wish_and_the_value():
    require(True, "size", -1, "positive")
    with pytest.raises(ValueError) as error:
        require(False, "size", "-1", "positive")
    assert str(error.value) == "size must be positive, not '-1'"


def test_true_and_false_are_no_whole_numbers():
    assert all(map(is_whole, (0, -3, 10**30)))
    assert not any(map(is_whole, (True, False, 1.0, "1", None)))


SCALARS = [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.int16)]
FRACTIONS = [np.float32(0.25), np.float64(0.25), np.array(0.25), torch.tensor(0.25), torch.tensor(0.25).bfloat16()]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_whole_scalars_of_numpy_and_torch_become_plain_numbers(value):
    for check in (
        lambda config: require_whole(config, 1, 5, "size"),
        lambda config: require_seed(config, "size"),
        lambda config: require_number(config, 1, 5, "size"),
        lambda config: require_positive(config, "size"),
    ):
        config = settings(value)
        check(config)
        assert type(config.size) is int
        assert json.dumps(config.size) == "3"
        assert config.other is value


@pytest.mark.parametrize("value", FRACTIONS, ids=repr)
def test_fractions_of_numpy_and_torch_become_plain_numbers_but_count_nothing(value):
    config = settings(value)
    require_positive(config, "size")
    assert type(config.size) is float
    assert config.size == 0.25
    for refuse in (lambda: require_whole(settings(value), 0, 5, "size"), lambda: require_seed(settings(value), "size")):
        with pytest.raises(ValueError, match=r"^size must be a whole number"):
            refuse()


@pytest.mark.parametrize(
    "value", [np.True_, torch.tensor(True), np.array([3]), torch.tensor([3]), np.array("3")], ids=repr
)
def test_truths_and_arrays_are_no_numbers(value):
    for refuse in (
        lambda: require_whole(settings(value), 0, 5, "size"),
        lambda: require_positive(settings(value), "size"),
    ):
        with pytest.raises(ValueError, match=r"^size must be a"):
            refuse()


def test_plain_leaves_anything_else_alone():
    for value in (3, True, "3", None, [3], np.array([3])):
        assert plain(value) is value
    config = settings(np.False_)
    require_flag(config, "size")
    assert config.size is False


@pytest.mark.parametrize("value", [2, 3, 5])
def test_a_whole_number_within_its_bounds_passes(value):
    require_whole(settings(value), 2, 5, "size", "other")


@pytest.mark.parametrize("value", [1, 6, 3.0, True, "3", None, math.nan, math.inf])
def test_another_whole_number_is_refused(value):
    with pytest.raises(ValueError, match=r"size must be a whole number from 2 to 5, not "):
        require_whole(settings(value), 2, 5, "size")


def test_each_named_field_is_checked():
    config = SimpleNamespace(size=3, other=9)
    require_whole(config, 2, 5, "size")
    with pytest.raises(ValueError, match=r"other must be a whole number from 2 to 5, not 9"):
        require_whole(config, 2, 5, "size", "other")


@pytest.mark.parametrize("value", [0, 1, 2**63 - 1])
def test_a_seed_passes(value):
    require_seed(settings(value), "size")


@pytest.mark.parametrize("value", [-1, 2**63, 1.0, True, "1"])
def test_what_generators_do_not_take_is_no_seed(value):
    with pytest.raises(ValueError, match=r"size must be a whole number from 0 to below 2\*\*63"):
        require_seed(settings(value), "size")


@pytest.mark.parametrize("value", [0, 0.5, 1, 1.0])
def test_a_number_within_its_bounds_passes(value):
    require_number(settings(value), 0, 1, "size", "other")


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, True, "0.5", None])
def test_another_number_is_refused(value):
    with pytest.raises(ValueError, match=r"size must be a number between 0 and 1, not "):
        require_number(settings(value), 0, 1, "size")


@pytest.mark.parametrize("value", [math.inf, 10**400, -1])
def test_even_without_an_upper_bound_a_number_is_finite(value):
    require_number(settings(LARGEST), 0, LARGEST, "size")
    with pytest.raises(ValueError, match=r"size must be a number of 0 or more, not "):
        require_number(settings(value), 0, LARGEST, "size")


def test_a_choice_is_one_of_the_listed():
    require_choice(settings("b"), "size", ("a", "b", None))
    require_choice(settings(None), "size", ("a", "b", None))
    with pytest.raises(ValueError) as error:
        require_choice(settings("c"), "size", ("a", "b", None))
    assert str(error.value) == "size must be one of 'a', 'b', None, not 'c'"


def test_a_flag_is_true_or_false():
    require_flag(settings(True), "size", "other")
    require_flag(settings(False), "size")
    for value in (0, 1, "True", None):
        with pytest.raises(ValueError, match="size must be True or False"):
            require_flag(settings(value), "size")


def test_near_names_are_suggested_and_otherwise_all_are_listed():
    known = ["laptop", "quickstart", "wikitext103"]
    assert near_names("quikstart", known) == ": did you mean quickstart?"
    assert near_names("nothing like it", reversed(known)) == "; known are laptop, quickstart, wikitext103"
    assert near_names("size_a", ["size_c", "size_b"]) in (
        ": did you mean size_b or size_c?",
        ": did you mean size_c or size_b?",
    )


def test_a_positive_number_is_above_zero_and_within_its_bound():
    require_positive(settings(0.1), "size", "other")
    require_positive(settings(2), "size", most=2)
    for value, most in ((0, LARGEST), (-1, LARGEST), (math.inf, LARGEST), (3, 2)):
        with pytest.raises(ValueError, match="size must be"):
            require_positive(settings(value), "size", most=most)
