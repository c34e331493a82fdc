"""What sets cases apart."""

import inspect

import torch
from jaxtyping import Float
from torch import Tensor

from tinyllm.course.checking.case_features import features, what_separates


def reference(x: Float[Tensor, "B T"], ids: list[int], p: float, training: bool, y: Float[Tensor, "*N"]) -> None: ...


def test_sizes_have_the_references_letters_and_the_rest_its_names():
    found = features(inspect.signature(reference).parameters, (torch.ones(2, 3), [7, 12], 0.5, True, torch.ones(4)))
    assert found == {"B": 2, "T": 3, "len(ids)": 2, "max(ids)": 12, "p": 0.5, "training": True} | {
        "y.dim()": 1,
        "y.numel()": 4,
    }
    assert features(inspect.signature(reference).parameters, (torch.ones(2, 3),)) == {
        "B": 2,
        "T": 3,
    }  # the rest has defaults


def test_only_what_holds_in_all_wrong_cases_and_no_right_one_separates_them():
    right = [{"B": 1, "k": 1, "V": 5}, {"B": 1, "k": 2, "V": 5}, {"B": 1, "k": 3, "V": 4}]
    wrong = [{"B": 2, "k": 4, "V": 4}]
    assert what_separates(right, wrong) == ["B > 1", "k > 3", "k = V"]
    assert what_separates(right, [{"B": 2, "k": 2, "V": 5}, {"B": 1, "k": 2, "V": 5}]) == []
    assert what_separates([{"p": 0.5}], [{"p": 0.0}, {"p": 0.0}]) == ["p = 0"]
    assert what_separates([{"on": True}], [{"on": False}]) == ["on = False"]
    # Two sizes that are neither 0 nor 1 are the smallest by chance, and so is what is drawn; True is 1 by chance.
    assert what_separates([{"N": 3}], [{"N": 5}, {"N": 4}]) == []
    assert what_separates([{"N": 1}, {"N": 3}], [{"N": 5}, {"N": 4}]) == []
    assert what_separates([{"N": 1}, {"N": 2}, {"N": 3}], [{"N": 5}, {"N": 4}]) == ["N > 3"]
    assert what_separates([{"max(ids)": size} for size in (3, 5, 9)], [{"max(ids)": 12}, {"max(ids)": 70}]) == []
    assert what_separates([{"N": 2, "on": True}] * 2, [{"N": 1, "on": True}, {"N": 1, "on": True}]) == ["N = 1"]
    assert what_separates([], wrong) == what_separates(right, []) == []
