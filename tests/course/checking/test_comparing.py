"""Where two results differ."""

from collections import Counter, deque
from types import MappingProxyType

import numpy as np
import pytest
import torch

from tinyllm.course.checking.comparing import Unusable, difference


def test_numbers_may_differ_by_rounding_and_other_values_may_not():
    assert difference(1e-4, 1.00001e-4) is None
    assert difference(1e-4, 1.01e-4) == "result"
    assert difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.00001], dtype=torch.double)) is None
    assert difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.001])) == "result[1]"
    assert difference(torch.tensor([-torch.inf, 0]), torch.tensor([-torch.inf, 0])) is None
    assert difference(torch.tensor([-torch.inf, 0]), torch.tensor([-1e9, 0])) == "result[0]"
    assert difference(5, np.int64(5)) is None
    assert difference({"a": [1, (b"x", "y")]}, {"a": [1, (b"x", "z")]}) == "result['a'][1][1]"
    assert difference([[1, 2]], [[1]]) == "the length of result[0]"
    assert difference({"a": 1}, {"b": 1}) == "result"
    for expected, got in [(1, True), (1.0, True), ("a", b"a"), (True, 1), (1.0, torch.tensor([1.0])), (1, "1")]:
        with pytest.raises(Unusable):
            difference(expected, got)


@pytest.mark.parametrize(
    ("expected", "same", "other"),
    [
        (2.5, [torch.tensor(2.5), np.float64(2.5), np.array(2.5), np.float32(2.5)], torch.tensor(2.6)),
        (3.0, [3, np.int64(3), torch.tensor(3)], 4),
        (3, [3.0, np.int64(3), torch.tensor(3), torch.tensor(3.0)], 3.5),
        (torch.tensor(2.5), [2.5, np.float64(2.5), torch.tensor(2.5).double()], 2.6),
        ([1, 2], [(1, 2), np.array([1, 2]), torch.tensor([1, 2]), [1.0, torch.tensor(2)], deque([1, 2])], (1, 3)),
        ((1.5, [2]), [[1.5, (2,)], (np.float64(1.5), np.array([2]))], [1.5, (3,)]),
        (
            (torch.ones(2), torch.zeros(2)),
            [torch.eye(2)[:1].repeat(2, 1).T, [torch.ones(2), torch.zeros(2)]],
            torch.eye(2),
        ),
        (True, [np.True_, torch.tensor(True)], np.False_),
        ({"a": 1.0}, [{"a": torch.tensor(1)}, Counter(a=1), MappingProxyType({"a": 1.0})], {"a": 2}),
    ],
)
def test_the_value_counts_whatever_type_holds_it(expected, same, other):
    assert [difference(expected, got) for got in same] == [None] * len(same)
    assert difference(expected, other) is not None


def test_tensors_without_ordinary_values_are_refused():
    for got in (torch.eye(2).to_sparse(), torch.empty(2, 2, device="meta")):
        for expected in (torch.eye(2), [1, 2], 1.0):
            with pytest.raises(Unusable):
                difference(expected, got)


@pytest.mark.parametrize(
    ("expected", "got", "message"),
    [
        ([1], iter([1]), "your result is a list_iterator; it should be a list. Make one of it: list(...)."),
        ([1], {1: 2}.keys(), "your result is a dict_keys; it should be a list. Make one of it: list(...)."),
        (1, None, "your result is None; it should be an int. Is a `return` missing?"),
        ([1, 2], [1, None], "your result[1] is None; it should be an int."),
        (torch.ones(2), torch.ones(3), "your result has shape (3,); it should have (2,)."),
        (torch.ones(2), torch.ones(2).bool(), "your result contains truth values (bool); it should contain"),
        (torch.ones(2), torch.tensor([1.0, torch.nan]), "your result[1] is NaN (not a number)."),
        ([1.0], [float("nan")], "your result[0] is NaN (not a number)."),
    ],
)
def test_what_cannot_be_compared_is_named(expected, got, message):
    with pytest.raises(Unusable) as error:
        difference(expected, got)
    assert str(error.value).startswith(message)


def test_an_unusable_part_matters_more_than_an_earlier_difference():
    with pytest.raises(Unusable, match=r"result\[1\] is None"):
        difference([1, 2], [3, None])
