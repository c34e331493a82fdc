"""The same random numbers in each test of the references."""

import random

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    torch.manual_seed(0)
