"""Fresh random numbers for a check or a measurement, without changing those of the learner's notebook."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def own_random_state() -> Iterator[None]:
    """New random numbers inside; outside, those that would have come anyway."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed()
            np.random.seed()
            torch.default_generator.seed()
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
