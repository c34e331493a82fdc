"""The best measurement is kept, and patience ends a run, in the same way however often the run was stopped."""

from pathlib import Path

import pytest
from small_runs import checkpoints, quietly, small_run, stop_after, without_clock, write_text, written

from tinyllm import RunConfig, load_run
from tinyllm.__main__ import main
from tinyllm.training import loop
from tinyllm.training.early_stopping import best_measurement, is_finished, measurements, out_of_patience

LOSSES = [9.0, 5.0, 4.0, 4.5, 3.0, 3.0, 3.2, 3.1, 2.9, 3.0]  # after 0, 2, 4 ... steps; the best is 2.9, after 16


@pytest.fixture
def measured(monkeypatch):
    """Held-out losses as if they had been measured."""
    measure = loop.Trainer.measure

    def pretend(trainer):
        trainer.monitor = lambda _: {"validation_loss": LOSSES[trainer.iteration // 2]}
        return measure(trainer)

    monkeypatch.setattr(loop.Trainer, "measure", pretend)


def run_of(text: Path, folder: Path, **overrides: object) -> RunConfig:
    return small_run(text, folder, max_iterations=18, evaluation_interval=2, **overrides)


def history(*losses: float) -> list[dict]:
    return [{"iteration": 10 * index, "validation_loss": loss} for index, loss in enumerate(losses)]


def test_the_best_is_the_first_lowest_and_never_the_untrained_model():
    points = history(1.0, 3.0, 2.0, 2.0)
    assert best_measurement(measurements([*points, {"iteration": 30, "training_loss": 0.1}])) == points[2]
    assert best_measurement(measurements(points, 10)) == points[1]
    assert best_measurement(measurements(points[:1])) is None


@pytest.mark.parametrize(
    ("losses", "patience", "out"),
    [
        ((9, 3, 2, 4, 4), 2, True),
        ((9, 3, 2, 4, 4), 3, False),
        ((9, 3, 2, 2, 2), 2, True),  # no better is no new best
        ((9, 3, 4, 2, 4), 2, False),
        ((9, 3, 2, 4, 4), None, False),
        ((9,), 1, False),
        ((), 1, False),
    ],
)
def test_patience_counts_the_measurements_since_the_best(losses, patience, out):
    assert out_of_patience(measurements(history(*losses)), patience) is out
    training = RunConfig().replace(patience=patience).training
    assert is_finished(training, history(*losses), 40) is out
    assert not is_finished(training, history(*losses), 20)  # the model of that time had patience left


def test_each_new_best_is_saved_and_is_what_load_run_loads(text, tmp_path, measured):
    seen = {}
    quietly(run_of(text, tmp_path), on_step=lambda point: seen.update({point["iteration"]: checkpoints(tmp_path)}))
    assert seen[3] == ["step-000002"]
    assert seen[7] == ["step-000002", "step-000004"]  # 4.5, after 6, is no new best
    assert seen[13] == ["step-000004", "step-000008"]
    assert checkpoints(tmp_path) == ["step-000016", "step-000018"]
    assert [load_run(tmp_path, which).iteration for which in ("best", "latest")] == [16, 18]


@pytest.mark.parametrize("stops", [[], [3, 9, 11], [1, 6, 10, 13]])
def test_patience_ends_a_run_at_the_same_step_with_the_same_checkpoints(text, tmp_path, measured, stops, capsys):
    config = run_of(text, tmp_path, patience=3)
    for stop in stops:
        assert not quietly(config, on_step=stop_after(stop)).finished
    capsys.readouterr()
    run = quietly(config)
    assert (run.iteration, run.finished) == (14, True)
    assert capsys.readouterr().out == (
        "stopped early after 14 iterations: no held-out loss since was lower than 3.0000, after 8 iterations\n"
    )
    assert checkpoints(tmp_path) == ["step-000008", "step-000014"]
    again = quietly(config, on_step=lambda point: pytest.fail("it went on"))
    assert (again.iteration, again.finished, load_run(tmp_path).iteration) == (14, True, 8)
    more = quietly(config, patience=4)
    assert (more.iteration, more.finished) == (18, True)
    whole = run_of(text, tmp_path / "whole")
    quietly(whole)
    assert without_clock(written(tmp_path)) == without_clock(written(tmp_path / "whole"))


S = "--vocab-size 300 --context-length 32 --embedding-dim 64 --num-layers 1 --num-heads 2 --feedforward-dim 128"
S += " --batch-size 8 --gradient-accumulation-steps 1 --device cpu --dropout 0"


def test_an_overfit_run_is_seen_stopped_and_its_best_is_kept(tmp_path, capsys):
    """From the command line, for real: a short text by heart."""
    text, folder = write_text(tmp_path / "short.txt", 30), tmp_path / "run"
    command = ["train", "laptop", "--data", str(text), "--run-folder", str(folder), "--max-learning-rate", "1e-2"]
    command += [*S.split(), "--max-iterations", "300", "--evaluation-interval", "20", "--patience", "3"]
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    points = [point for point in written(folder) if "validation_loss" in point][1:]
    best = min(points, key=lambda point: point["validation_loss"])
    lowest, end = f"{best['validation_loss']:.4f}", points[-1]["iteration"]
    assert end < 300
    assert f"stopped early after {end} iterations: no held-out loss since was lower than {lowest}, after" in said[-5]
    assert said[-3] == (
        f"the best was {lowest}, after {best['iteration']} iterations: evaluate and sample use that checkpoint"
    )
    run = load_run(folder)
    assert run.iteration == best["iteration"] == end - 60
    assert run.diagnose().problems == ["overfitting"]
