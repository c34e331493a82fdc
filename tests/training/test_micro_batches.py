"""The micro-batches of a step: the same blocks, in the same order, for any number of processes."""

import numpy as np
import pytest
import torch

from tinyllm import ModelConfig, RunConfig, TrainingConfig
from tinyllm.system.distributed import Processes
from tinyllm.text.batches import Blocks
from tinyllm.text.tokenized import TokenizedSplit
from tinyllm.training.micro_batches import micro_batches

CPU = torch.device("cpu")


@pytest.fixture
def blocks():
    return Blocks(TokenizedSplit(np.arange(500, dtype=np.uint16), np.array([0]), 0, 0), 8, seed=1)


def cut(size: int, count: int) -> RunConfig:
    training = TrainingConfig(batch_size=size, gradient_accumulation_steps=count)
    return RunConfig(model=ModelConfig(context_length=8), training=training)


@pytest.mark.parametrize(("size", "count"), [(12, 1), (3, 4), (1, 12)])
@pytest.mark.parametrize("iteration", [0, 1, 7])
def test_one_process_gets_the_steps_blocks_in_order_however_they_are_cut(blocks, size, count, iteration):
    batches = micro_batches(blocks, cut(size, count), iteration, Processes(CPU))
    assert [tuple(part.shape) for batch in batches for part in batch] == [(size, 8)] * 2 * count
    assert {part.dtype for batch in batches for part in batch} == {torch.int64}
    ids, targets = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    expected_ids, expected_targets = blocks.batch(iteration * 12, 12)
    assert np.array_equal(ids, expected_ids)
    assert np.array_equal(targets, expected_targets)


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_take_turns(blocks, world_size):
    config = cut(3, 4)
    every = micro_batches(blocks, config, 5, Processes(CPU))
    for rank in range(world_size):
        share = micro_batches(blocks, config, 5, Processes(CPU, rank, world_size))
        expected = every[rank::world_size]
        assert len(share) == len(expected)
        assert all(
            torch.equal(*ids) and torch.equal(*targets)
            for ids, targets in (zip(mine, whole, strict=True) for mine, whole in zip(share, expected, strict=True))
        )


def test_micro_batches_that_cannot_be_shared_equally_are_refused(blocks):
    with pytest.raises(ValueError, match=r"gradient_accumulation_steps \(4\) must be a multiple of the 3 processes"):
        micro_batches(blocks, cut(3, 4), 0, Processes(CPU, 0, 3))
