"""The history as a table and for TensorBoard: the same points, also of a run that was stopped and resumed."""

import csv
import importlib.util
import sys
import types

import pytest
from small_runs import Killed, killer, quietly, small_run, stop_after, written

from tinyllm.__main__ import main


def test_the_table_is_the_history(text, tmp_path):
    config = small_run(text, tmp_path)
    quietly(config, on_step=stop_after(5))  # without a table so far
    with pytest.raises(Killed):
        quietly(config, csv=True, on_step=killer(6))
    quietly(config, csv=True)
    with (tmp_path / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    assert rows == written(tmp_path)


class Writer:
    """What TensorBoard would show: a resumed run hides what it does again."""

    shown: dict = {}  # noqa: RUF012

    def __init__(self, folder, purge_step):
        kept = {key: value for key, value in self.shown.items() if key[0] == folder and key[2] < purge_step}
        self.shown.clear()
        self.shown.update(kept)
        self.folder = folder

    def add_scalar(self, name, value, step):
        self.shown[self.folder, name, step] = value

    def close(self):
        self.shown["closed"] = True


def test_tensorboard_shows_the_history(text, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    config = small_run(text, tmp_path, tensorboard=True)
    quietly(config, on_step=stop_after(4))
    with pytest.raises(Killed):
        quietly(config, on_step=killer(6))
    quietly(config)
    assert Writer.shown.pop("closed")
    names = {"training_loss": "loss/training", "validation_loss": "loss/held-out"}
    expected = {
        (tmp_path / "tensorboard", names.get(name, name), point["iteration"]): value
        for point in written(tmp_path)
        for name, value in point.items()
        if name != "iteration"
    }
    assert Writer.shown == expected


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")
def test_tensorboard_itself_reads_the_history(text, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = small_run(text, tmp_path, tensorboard=True)
    quietly(config, on_step=stop_after(4))
    quietly(config)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name, key in (("loss/training", "training_loss"), ("loss/held-out", "validation_loss")):
        read = [(event.step, event.value) for event in events.Scalars(name)]
        assert read == [(p["iteration"], pytest.approx(p[key])) for p in written(tmp_path) if key in p]


def test_without_tensorboard_one_line_says_so_before_anything_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["train", "quickstart", "--tensorboard", "--run-folder", str(tmp_path / "run")]) == 1
    printed = capsys.readouterr().err
    assert printed == "tinyllm: tensorboard=True needs the package tensorboard: install it, or leave that out\n"
