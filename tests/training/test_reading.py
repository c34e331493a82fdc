"""What a step says of itself: read once it has arrived, a step late where Python does not wait for the device."""

import math
import os
import signal
from typing import ClassVar

import pytest
import torch
from small_runs import assert_same_end, losses, quietly, small_run, stop_after, written
from torch import Tensor

from tinyllm import RunConfig
from tinyllm.training import loop, monitoring, reading
from tinyllm.training.checkpoint import find_checkpoint
from tinyllm.training.reading import Clock, Reading


class Late(Tensor):
    """A loss on the CPU that says it is on a GPU, so that nothing waits for it."""

    is_cuda = True
    device = torch.device("cuda")


class Event:
    """What CUDA says when all that was launched before it is done."""

    waited: ClassVar[list["Event"]] = []

    def record(self, stream: str) -> None:
        assert stream == "the stream of cuda", "recorded elsewhere it would not wait for the copy"
        assert self not in self.waited

    def synchronize(self) -> None:
        self.waited.append(self)


@pytest.fixture
def late(monkeypatch):
    """The loop takes each loss for one on a GPU. Gives the events that somebody waited for."""
    empty, accumulate, events = torch.empty, loop.accumulate_gradients, []
    monkeypatch.setattr(loop, "accumulate_gradients", lambda *of: accumulate(*of).as_subclass(Late))
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **other: empty(*size, **other))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    monkeypatch.setattr(Event, "waited", events)
    return events


# --- One reading ---


def test_a_reading_has_the_loss_and_the_norm_of_its_step_and_keeps_no_graph():
    weight = torch.ones((), requires_grad=True)
    read = Reading(7, 0.5, weight * 1.25, torch.tensor(3.0, dtype=torch.float64))
    assert (read.iteration, read.rate) == (7, 0.5)
    assert not read.arriving.values.requires_grad
    assert read.loss_and_norm() == read.loss_and_norm() == (1.25, 3.0)
    assert all(type(value) is float for value in read.loss_and_norm())


def test_what_changes_afterwards_does_not_change_a_reading():
    """A CUDA graph writes the next step's loss where this one's was."""
    loss, norm = torch.tensor(1.0), torch.tensor(2.0)
    read = Reading(0, 0.1, loss, norm)
    loss.fill_(9)
    norm.fill_(9)
    assert read.loss_and_norm() == (1.0, 2.0)


def test_a_gpu_is_waited_for_when_the_values_are_asked_for_and_not_before(late):
    read = Reading(0, 0.1, torch.tensor(1.5).as_subclass(Late), torch.tensor(2.5))
    assert not late
    assert read.loss_and_norm() == (1.5, 2.5)
    assert late == [read.arriving.ready]


def test_the_clock_counts_from_reading_to_reading_and_leaves_out_what_it_is_told_to(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(reading.time, "perf_counter", lambda: now[0])
    config = RunConfig().replace(batch_size=2, gradient_accumulation_steps=3, context_length=10)
    clock = Clock()
    points = []
    for iteration, seconds in enumerate((2.0, 4.0, 0.5)):
        now[0] += seconds
        points.append(clock.point(Reading(iteration, 0.1, torch.tensor(1.0), torch.tensor(2.0)), config))
        if iteration == 1:
            now[0] += 1000.0  # a measurement
            clock.restart()
    assert [point["seconds"] for point in points] == [2.0, 4.0, 0.5]
    assert [point["tokens_per_second"] for point in points] == [30.0, 15.0, 120.0]
    assert points[1] == {
        "iteration": 1, "training_loss": 1.0, "learning_rate": 0.1, "gradient_norm": 2.0, "tokens_per_second": 15.0,
        "seconds": 4.0,
    }  # fmt: skip


def test_a_steps_seconds_are_its_own_without_measuring_and_saving(text, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(reading.time, "perf_counter", lambda: now[0])

    def taking(seconds: float, original):
        def slow(*arguments):
            now[0] += seconds
            return original(*arguments)

        return slow

    monkeypatch.setattr(loop, "accumulate_gradients", taking(2.0, loop.accumulate_gradients))
    monkeypatch.setattr(monitoring, "mean_loss", taking(100.0, monitoring.mean_loss))
    monkeypatch.setattr(loop, "save_checkpoint", taking(1000.0, loop.save_checkpoint))
    run = quietly(small_run(text, tmp_path, checkpoint_interval=3))  # which is not when it is measured
    assert [point["seconds"] for point in run.history if "training_loss" in point] == [2.0] * 10
    assert now[0] == 10 * 2 + 4 * 100 + 6 * 1000  # saved at 3, 6, 9 and 10, and at the new bests 4 and 8


# --- A run whose readings are late ---


def test_a_late_run_launches_a_step_before_it_reads_the_last_one(text, tmp_path, monkeypatch, late):
    config, launched, seen = small_run(text, tmp_path, evaluation_interval=4), [], []
    accumulate = loop.accumulate_gradients
    monkeypatch.setattr(loop, "accumulate_gradients", lambda *of: launched.append(1) or accumulate(*of))

    def on_step(point):
        seen.append((point["iteration"], len(launched)) if "training_loss" in point else "measured")

    quietly(config, on_step=on_step)
    before_measuring = {3: 4, 7: 8, 9: 10}  # then nothing is left unread
    steps = [(step, before_measuring.get(step, step + 2)) for step in range(10)]
    assert seen == ["measured", *steps[:4], "measured", *steps[4:8], "measured", *steps[8:], "measured"]


def test_a_late_run_ends_as_any_other_with_every_step_once_and_in_order(text, tmp_path, uninterrupted, late):
    run = quietly(small_run(text, tmp_path))
    assert_same_end(tmp_path, uninterrupted)
    assert run.history == written(tmp_path)
    order = [(point["iteration"], "validation_loss" in point) for point in run.history]
    steps = [(iteration, False) for iteration in range(10)]
    assert order == [(0, True), *steps[:4], (4, True), *steps[4:8], (8, True), *steps[8:], (10, True)]
    assert all(point["seconds"] > 0 for point in run.history if "training_loss" in point)


def _spoil(monkeypatch, iteration: int, what: str) -> None:
    """The loss of one step is nan, or its gradient is infinite; either way its weights will be of no use."""
    accumulate, done = loop.accumulate_gradients, []

    def bad(model, *rest):
        loss = accumulate(model, *rest)
        done.append(loss)
        if len(done) - 1 < iteration:
            return loss
        for parameter in model.parameters():
            parameter.grad.fill_(math.nan if what == "loss" else math.inf)
        return loss * math.nan if what == "loss" else loss

    monkeypatch.setattr(loop, "accumulate_gradients", bad)


@pytest.mark.parametrize(("what", "message"), [("loss", "is nan; "), ("gradient", r"is \d\.\d+, but its gradient is ")])
@pytest.mark.parametrize("iteration", [0, 1, 3, 4, 5, 7, 9])  # before a measurement, before a checkpoint, the last
def test_what_is_not_finite_stops_a_late_run_before_any_checkpoint_has_it(
    text, tmp_path, monkeypatch, late, iteration, what, message
):
    config = small_run(text, tmp_path, checkpoint_interval=2, evaluation_interval=4)
    _spoil(monkeypatch, iteration, what)
    with pytest.raises(RuntimeError, match=rf"^the loss of iteration {iteration} {message}"):
        quietly(config)
    good = iteration - iteration % 2
    found = find_checkpoint(tmp_path)
    assert (found.iteration if found else 0) == good
    points = written(tmp_path)
    assert [point["iteration"] for point in points if "training_loss" in point] == list(range(iteration))
    assert [point["iteration"] for point in points if "validation_loss" in point] == list(range(0, iteration + 1, 4))[
        : 1 + iteration // 4
    ]
    monkeypatch.undo()
    whole = quietly(config)  # from the last good checkpoint
    assert (
        losses(whole)
        == [point["training_loss"] for point in points if "training_loss" in point] + losses(whole)[iteration:]
    )


@pytest.mark.parametrize("iteration", [1, 2, 6])
def test_ctrl_c_saves_a_late_run_in_a_consistent_state(text, tmp_path, uninterrupted, late, iteration):
    config = small_run(text, tmp_path)

    def interrupt(point):
        if point["iteration"] == iteration and "training_loss" in point:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = quietly(config, on_step=interrupt)
    saved = find_checkpoint(tmp_path).iteration
    assert stopped.iteration == saved == iteration + 2  # the step after it had been launched
    assert [point["iteration"] for point in written(tmp_path) if "training_loss" in point] == list(range(saved))
    quietly(config)
    assert_same_end(tmp_path, uninterrupted)


def test_a_late_run_may_resume_where_losses_are_read_at_once_and_the_other_way_round(
    text, tmp_path, uninterrupted, late, monkeypatch
):
    config = small_run(text, tmp_path)
    quietly(config, on_step=stop_after(5))
    with monkeypatch.context() as patches:
        patches.setattr(Late, "is_cuda", False)
        patches.setattr(Late, "device", torch.device("cpu"))
        quietly(config, on_step=stop_after(8))
    quietly(config)
    assert_same_end(tmp_path, uninterrupted)
