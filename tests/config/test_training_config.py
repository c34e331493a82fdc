"""How a model learns: what is filled in."""

import pytest

from tinyllm import RunConfig, TrainingConfig


@pytest.mark.parametrize(("size", "steps"), [(8, 4), (32, 1), (1, 32)])
def test_the_global_batch_is_all_blocks_of_a_step(size, steps):
    assert TrainingConfig(batch_size=size, gradient_accumulation_steps=steps).global_batch == 32
    assert "global_batch" not in RunConfig().to_dict()["training"]


@pytest.mark.parametrize(
    ("iterations", "warmup"), [(100_000, 2000), (200_000, 2000), (99_999, 1999), (1000, 20), (49, 0), (1, 0)]
)
def test_default_warm_up_is_a_fiftieth_of_the_run_and_2000_at_most(iterations, warmup):
    assert TrainingConfig(max_iterations=iterations).warmup == warmup


def test_a_warm_up_that_is_given_is_used():
    assert TrainingConfig(max_iterations=100, warmup_iterations=7).warmup == 7
    assert TrainingConfig(max_iterations=100_000, warmup_iterations=0).warmup == 0
