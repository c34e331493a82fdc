"""Whoever watches a run cannot cost it: it is saved, then the error goes on, and the rest of the run is bit-exact."""

import sys
import threading
import time
import traceback

import numpy as np
import pytest
from small_runs import assert_same_end, checkpoints, quietly, small_run, written

from tinyllm import load_run, train
from tinyllm.__main__ import main
from tinyllm.training import logs, loop
from tinyllm.training.checkpoint import find_checkpoint


def failing(error: BaseException, iteration: int, key: str = "training_loss"):
    """An `on_step` that raises at one point."""

    def fail(point):
        if key in point and point["iteration"] == iteration:
            raise error

    return fail


@pytest.mark.parametrize(
    ("error", "iteration", "key", "saved"),
    [
        (KeyError("mine"), 5, "training_loss", 6),
        (SystemExit(3), 2, "training_loss", 3),
        (KeyboardInterrupt(), 6, "training_loss", 7),  # the second Ctrl-C, in an `on_step` that hangs
        (BrokenPipeError(32, "Broken pipe"), 0, "validation_loss", 1),  # before any step: there is nothing to save yet
        (MemoryError(), 4, "validation_loss", 4),
        (RuntimeError("no network"), 9, "training_loss", 10),  # the last step
    ],
)
def test_an_error_in_on_step_is_raised_once_the_run_is_saved(
    text, tmp_path, uninterrupted, error, iteration, key, saved, capsys
):
    config = small_run(text, tmp_path)
    with pytest.raises(type(error)) as failure:
        quietly(config, on_step=failing(error, iteration, key))
    assert failure.value is error
    assert traceback.extract_tb(error.__traceback__)[-1].name == "fail"  # the caller's own line
    folder = tmp_path / f"step-{saved:06d}"
    assert error.__notes__ == [f"the last good checkpoint is {folder}; the same call resumes from there"]
    assert find_checkpoint(tmp_path).folder == folder
    assert ("stopped after" in capsys.readouterr().out) == (saved < 10)
    quietly(config)
    assert_same_end(tmp_path, uninterrupted)
    assert checkpoints(tmp_path) == checkpoints(uninterrupted)


def test_an_on_step_that_answers_with_numpy_and_empties_the_point_is_understood(text, tmp_path, uninterrupted):
    def stop_at_3(point):
        return np.float64(point.pop("iteration")) >= 3 and "training_loss" in point and np.True_

    config = small_run(text, tmp_path)
    assert quietly(config, on_step=stop_at_3).iteration == 4
    quietly(config, on_step=dict.clear)
    assert_same_end(tmp_path, uninterrupted)


def test_all_others_are_still_shown_the_last_points(text, tmp_path):
    with pytest.raises(ValueError, match="mine"):
        quietly(small_run(text, tmp_path, csv=True), on_step=failing(ValueError("mine"), 5))
    rows = (tmp_path / "history.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == [point["iteration"] for point in written(tmp_path)]
    assert rows[-1].startswith("5,")


class Closable:
    """A stream whose reader goes, as with `| head`."""

    encoding, closed = "utf-8", False

    def write(self, text: str) -> int:
        if self.closed:
            raise BrokenPipeError(32, "Broken pipe")
        return len(text)

    def flush(self) -> None:
        pass


def test_a_bar_that_nobody_reads_any_more_does_not_cost_the_run(text, tmp_path, uninterrupted, monkeypatch):
    config, stream = small_run(text, tmp_path), Closable()

    def close(point):
        stream.closed = point["iteration"] > 3
        time.sleep(0.03)  # the bar is drawn ten times a second

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        with pytest.raises(BrokenPipeError):
            train(config, on_step=close)
    assert find_checkpoint(tmp_path).iteration > 3
    quietly(config)
    assert_same_end(tmp_path, uninterrupted)


def test_a_line_that_nobody_reads_does_not_cost_the_run(text, tmp_path, monkeypatch):
    """The line is about a disk that was full for a moment; without it the run would have gone on."""
    save = loop.save_checkpoint

    def full(iteration, *rest):
        if iteration == 2:
            raise OSError(28, "No space left on device")
        return save(iteration, *rest)

    monkeypatch.setattr(loop, "save_checkpoint", full)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream := Closable())
        stream.closed = True
        with pytest.raises(BrokenPipeError):
            quietly(small_run(text, tmp_path, checkpoint_interval=2))
    assert load_run(tmp_path, "latest").iteration == 3
    finished: list[bool] = []  # tqdm kept its lock when the line failed: no other thread could have a bar
    thread = threading.Thread(target=lambda: finished.append(quietly(small_run(text, tmp_path)).finished), daemon=True)
    thread.start()
    thread.join(60)
    assert finished == [True]


def test_a_log_on_a_full_disk_is_one_line_that_names_the_checkpoint(text, tmp_path, monkeypatch, capsys):
    full = failing(OSError(28, "No space left on device"), 1)
    monkeypatch.setattr(logs.CsvLog, "__call__", lambda _, point: full(point))
    command = ["train", "laptop", "--data", str(text), "--run-folder", str(tmp_path), "--csv", "--vocab-size", "300"]
    sizes = "--context-length 16 --embedding-dim 16 --num-layers 1 --num-heads 2 --feedforward-dim 32 --device cpu"
    assert main([*command, *sizes.split(), "--max-iterations", "9"]) == 1
    good = f"the last good checkpoint is {tmp_path / 'step-000002'}; the same call resumes from there\n"
    assert capsys.readouterr().err.endswith(f"tinyllm: [Errno 28] No space left on device; {good}")
