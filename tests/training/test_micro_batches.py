"""The blocks of a step: the same, in the same order, however they are cut and shared; and how large a cut may be."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from small_runs import small_run

from tinyllm import ModelConfig, RunConfig, TrainingConfig
from tinyllm.estimation import memory_bytes
from tinyllm.system.distributed import Processes
from tinyllm.text.batches import Blocks
from tinyllm.text.tokenized import TokenizedSplit
from tinyllm.training import micro_batches as module
from tinyllm.training.micro_batches import Cut, blocks_per_process, divisors, largest_cut, micro_batches, smaller_cut

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TWELVE = [1, 2, 3, 4, 6, 12]  # the divisors of a step's 12 blocks


@pytest.fixture
def blocks():
    return Blocks(TokenizedSplit(np.arange(500, dtype=np.uint16), np.array([0]), 0, 0), 8, seed=1)


def run_of(size: int, count: int) -> RunConfig:
    training = TrainingConfig(batch_size=size, gradient_accumulation_steps=count)
    return RunConfig(model=ModelConfig(context_length=8), training=training)


# --- The blocks ---


@pytest.mark.parametrize(("size", "count"), [(12, 1), (3, 4), (1, 12)])
@pytest.mark.parametrize("iteration", [0, 1, 7])
@pytest.mark.parametrize("cut", TWELVE)
def test_one_process_gets_the_steps_blocks_in_order_however_they_are_cut(blocks, size, count, iteration, cut):
    batches = micro_batches(blocks, run_of(size, count), iteration, Processes(CPU), cut)
    assert [tuple(part.shape) for batch in batches for part in batch] == [(cut, 8)] * 2 * (12 // cut)
    assert {part.dtype for batch in batches for part in batch} == {torch.int64}
    ids, targets = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    expected_ids, expected_targets = blocks.batch(iteration * 12, 12)
    assert np.array_equal(ids, expected_ids)
    assert np.array_equal(targets, expected_targets)


@pytest.mark.parametrize("world_size", TWELVE)
def test_the_shares_of_several_processes_follow_each_other_however_each_is_cut(blocks, world_size):
    """Every process could even cut its own share in its own way."""
    config, share = run_of(3, 4), 12 // world_size
    every = blocks.batch(5 * 12, 12)
    for cut in divisors(share):
        found = []
        for rank in range(world_size):
            batches = micro_batches(blocks, config, 5, Processes(CPU, rank, world_size), cut)
            assert [len(ids) for ids, _ in batches] == [cut] * (share // cut)
            found += batches
        ids, targets = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        assert np.array_equal(ids, every[0])
        assert np.array_equal(targets, every[1])


def test_steps_follow_each_other_without_a_gap(blocks):
    """Also from one epoch into the next, which begins after about 62 blocks."""
    steps = [micro_batches(blocks, run_of(3, 4), iteration, Processes(CPU), 4) for iteration in range(12)]
    ids = torch.cat([ids for step in steps for ids, _ in step]).numpy()
    assert np.array_equal(ids, blocks.batch(0, 144)[0])


@pytest.mark.parametrize("world_size", [5, 8, 24])
def test_blocks_that_cannot_be_shared_equally_are_refused(blocks, world_size):
    config, processes = run_of(3, 4), Processes(CPU, 0, world_size)
    message = (
        rf"batch_size times gradient_accumulation_steps \(12 blocks a step\) must be a multiple of the {world_size} "
    )
    for call in (
        lambda: blocks_per_process(config, processes),
        lambda: micro_batches(blocks, config, 0, processes, 1),
        lambda: largest_cut(config, processes, torch.float32),
        lambda: smaller_cut(Cut("here", 3), config, processes),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_divisors_come_largest_first():
    assert divisors(12) == TWELVE[::-1]
    assert divisors(7) == [7, 1]
    assert divisors(1) == [1]


# --- How large a cut may be ---


def has(monkeypatch, memory: float) -> None:
    monkeypatch.setattr(module, "total_memory", lambda device: memory)


@pytest.mark.parametrize("size", TWELVE)
def test_the_largest_divisor_that_fits_is_taken(monkeypatch, size):
    """A quarter of a CPU's memory may be used, for what `memory_bytes` says of so many blocks."""
    config = run_of(3, 4)
    needed = memory_bytes(config, "cpu", 4, size)
    has(monkeypatch, 4 * needed + 4)
    assert largest_cut(config, Processes(CPU), torch.float32).blocks == size
    has(monkeypatch, 4 * needed)
    smaller = max([divisor for divisor in TWELVE if divisor < size], default=1)
    assert largest_cut(config, Processes(CPU), torch.float32).blocks == smaller


def test_without_any_room_one_block_is_tried_all_the_same(monkeypatch):
    has(monkeypatch, 0)
    assert largest_cut(run_of(3, 4), Processes(CPU), torch.float32).blocks == 1


def test_where_nobody_knows_the_memory_batch_size_is_a_pass(monkeypatch):
    has(monkeypatch, float("inf"))
    assert largest_cut(run_of(3, 4), Processes(CPU), torch.float32).blocks == 3
    assert largest_cut(run_of(12, 1), Processes(CPU), torch.float32).blocks == 12


def test_processes_on_a_cpu_share_its_memory(monkeypatch):
    config = run_of(3, 4)
    has(monkeypatch, 2 * (4 * memory_bytes(config, "cpu", 4, 3) + 4))
    assert largest_cut(config, Processes(CPU), torch.float32).blocks >= 6

    class Both(Processes):
        def any(self, flag: bool) -> bool:
            return flag

    assert largest_cut(config, Both(CPU, 0, 2), torch.float32).blocks == 3


def test_the_machines_memory_is_part_of_its_name(monkeypatch):
    names = set()
    for memory in (8e9, 16e9):
        has(monkeypatch, memory)
        names.add(largest_cut(run_of(3, 4), Processes(CPU), torch.float32).machine)
    assert names == {"cpu, 8 GB, 1 processes", "cpu, 16 GB, 1 processes"}


def test_a_gpu_has_its_own_bound_width_and_name(monkeypatch):
    seen = []

    def linear(config: RunConfig, device: str, width: int, size: int) -> float:
        seen.append((device, width))
        return 100.0 * size * width

    monkeypatch.setattr(module, "memory_bytes", linear)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Z1")
    has(monkeypatch, 1000)  # of which 800 may be used
    assert largest_cut(run_of(3, 4), Processes(CUDA), torch.bfloat16) == Cut("NVIDIA Z1, 0 GB, 1 processes", 3)
    assert largest_cut(run_of(3, 4), Processes(CUDA), torch.float32) == Cut("NVIDIA Z1, 0 GB, 1 processes", 1)
    assert set(seen) == {("cuda", 2), ("cuda", 4)}


@dataclass(frozen=True)
class BesideAFullOne(Processes):
    """One of two processes; the other has room for no more than three blocks, and asks for them in the same order."""

    def any(self, flag: bool) -> bool:
        order = self.__dict__.setdefault("order", iter([True, False]))  # 6 blocks, then 3
        return flag or next(order)


def test_all_processes_take_what_fits_in_the_fullest_of_them(monkeypatch):
    has(monkeypatch, 1e15)
    assert largest_cut(run_of(3, 4), BesideAFullOne(CPU, 0, 2), torch.float32).blocks == 3


def test_memory_runs_out_in_ever_smaller_passes_until_a_clear_error():
    config, cut, taken = small_run("text", "folder", batch_size=3, gradient_accumulation_steps=4), Cut("here", 12), []
    for _ in range(5):
        cut = smaller_cut(cut, config, Processes(CPU))
        taken.append(cut.blocks)
    assert taken == [6, 4, 3, 2, 1]
    assert cut.machine == "here"
    advice = r"out of GPU memory with 1 blocks.*: use recompute=True, or a smaller context_length or model$"
    with pytest.raises(RuntimeError, match=advice) as failure:
        smaller_cut(cut, config, Processes(CPU))
    assert "\n" not in str(failure.value)


def test_a_cut_that_does_not_divide_is_followed_by_the_next_one_that_does():
    assert smaller_cut(Cut("here", 5), run_of(3, 4), Processes(CPU)).blocks == 4


def test_several_processes_do_not_change_the_cut_in_the_middle_of_a_step():
    with pytest.raises(RuntimeError, match="out of GPU memory with 6 blocks in a forward pass"):
        smaller_cut(Cut("here", 6), run_of(3, 4), Processes(CPU, 0, 2))
    assert smaller_cut(Cut("here", 6), run_of(3, 4), Processes(CPU, 0, 2), together=True).blocks == 3
    with pytest.raises(RuntimeError, match="out of GPU memory with 1 blocks in a forward pass"):
        smaller_cut(Cut("here", 1), run_of(3, 4), Processes(CPU, 0, 2), together=True)


def test_divisors_of_large_batches_are_found_at_once():
    assert divisors(36) == [36, 18, 12, 9, 6, 4, 3, 2, 1]
    assert divisors(999_999_937) == [999_999_937, 1], "a prime: trying each number would take minutes"
    with pytest.raises(ValueError, match="batch_size"):
        TrainingConfig(batch_size=10**6, gradient_accumulation_steps=10**4)
