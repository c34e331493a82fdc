"""A measured number is right inside its band, and anything else is shown as it came."""

import pytest
import torch

from tinyllm.course.checking.measuring import within

observe = within(0.1, lambda n: 2.0 * n)


@pytest.mark.parametrize("measured", [20, 19, 21.9, torch.tensor(20.5)])
def test_a_number_inside_the_band_counts_as_the_truth(measured):
    assert observe(lambda n: measured, 10) == 20


@pytest.mark.parametrize("measured", [17.9, 22.1, -20.0, "20 or so", None, (20,)])
def test_anything_else_stays_what_it_is(measured):
    assert observe(lambda n: measured, 10) is measured


def test_the_truth_follows_the_arguments():
    assert [observe(lambda n: 10.0, n) for n in (5, 50)] == [10.0, 10.0]
    assert observe(lambda n: 101.0, 50) == 100
