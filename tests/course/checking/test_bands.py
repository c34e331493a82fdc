"""A measured number is as good as the known one that it lies near."""

import numpy as np
import pytest
import torch

from tinyllm.course.checking.bands import settle


@pytest.mark.parametrize("measured", [3.8, 4.2, torch.tensor(4.1), np.float32(3.9), torch.tensor([4.0])])
def test_a_number_within_the_band_settles_on_the_known_one(measured):
    assert settle(measured, 4.0, 16.0) == 4.0


@pytest.mark.parametrize("measured", [3.5, 4.5, -4.0, 0.0, float("nan"), float("inf"), torch.tensor(10)])
def test_any_other_number_stays_what_it_is(measured):
    assert settle(measured, 4.0, 16.0) is measured


def test_the_first_of_two_bands_and_a_band_of_your_own():
    assert settle(1.0, 1.05, 0.95) == 1.05
    assert settle(30, 32, band=0.05) == 30
    assert settle(-9.9, -10.0) == -10.0


@pytest.mark.parametrize("measured", [None, "four", [4.0], torch.ones(3), print])
def test_what_is_no_number_is_left_to_the_comparison(measured):
    assert settle(measured, 4.0) is measured
