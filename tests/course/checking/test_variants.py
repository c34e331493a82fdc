"""A case in another form has the same values."""

import torch
from torch import nn

from tinyllm.course.checking.variants import default_float64, in_float64, not_contiguous


def test_tensors_keep_their_values_in_another_order_of_memory():
    case = (torch.randn(2, 3, 4), torch.arange(3), [torch.randn(2, 2)], 5)
    changed = not_contiguous(case)
    assert not changed[0].is_contiguous() and not changed[1].is_contiguous() and not changed[2][0].is_contiguous()
    assert torch.equal(changed[0], case[0]) and torch.equal(changed[1], case[1]) and changed[3] == 5
    assert not_contiguous(([1], "a")) is None


def test_floats_and_modules_become_float64_and_the_rest_stays():
    module = nn.Linear(2, 2)
    x, ids, doubled = in_float64((torch.ones(2), torch.arange(2), module))
    assert (x.dtype, ids.dtype, doubled.weight.dtype) == (torch.float64, torch.int64, torch.float64)
    assert module.weight.dtype == torch.float32
    with default_float64():
        assert torch.ones(1).dtype == torch.float64
    assert torch.ones(1).dtype == torch.float32
