"""The history of a run: every point in memory and on disk, cut back where a run resumes."""

import json
import math
from pathlib import Path

import pytest
from small_runs import quietly, small_run, written

from tinyllm import RunConfig
from tinyllm.training.history import History, read_history, step_point


def test_history_file_holds_every_point(text, tmp_path):
    seen = []
    run = quietly(small_run(text, tmp_path), on_step=lambda point: seen.append(point))
    assert written(tmp_path) == run.history == seen
    steps = [point for point in run.history if "training_loss" in point]
    assert [point["iteration"] for point in steps] == list(range(10))
    for point in steps:
        assert point["tokens_per_second"] * point["seconds"] == pytest.approx(4 * 2 * 16)
    assert [point["learning_rate"] for point in steps[:3]] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2])


def step(iteration: int) -> dict:
    return {"iteration": iteration, "training_loss": 1.0}


def measurement(iteration: int) -> dict:
    return {"iteration": iteration, "validation_loss": 2.0}


def write(folder: Path, points: list[dict], end: str = "") -> None:
    (folder / "history.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points) + end)


POINTS = [measurement(0), step(0), step(1), measurement(2), step(2), step(3), measurement(4)]


@pytest.mark.parametrize(("start", "kept"), [(0, 0), (1, 2), (2, 4), (3, 5), (4, 7), (9, 7)])
def test_a_history_is_cut_back_to_the_steps_before_the_checkpoint_and_its_measurement(tmp_path, start, kept):
    write(tmp_path, POINTS)
    with History(tmp_path, start, writes=True) as history:
        assert history.points == written(tmp_path) == POINTS[:kept]
        history.add(step(start))
        assert written(tmp_path) == [*POINTS[:kept], step(start)]  # at once, for whoever watches
    assert read_history(tmp_path) == history.points


def test_a_process_that_does_not_write_keeps_the_points_and_leaves_the_file(tmp_path):
    write(tmp_path, POINTS)
    with History(tmp_path, 2, writes=False) as history:
        history.add(step(2))
    assert history.points == [*POINTS[:4], step(2)]
    assert written(tmp_path) == POINTS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, as Linux has it")
def test_what_could_not_be_written_is_written_once_it_can_be(tmp_path, capsys):
    with History(tmp_path, 0, writes=True) as history:
        history.add(step(0))
        history._file.close()
        history._file = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115
        history.add(step(1))
        assert written(tmp_path) == [step(0)]
        history.add(step(2))
        assert written(tmp_path) == [step(0), step(1), step(2)]
    assert capsys.readouterr().out.count("could not be written") == 1


NO_POINTS = [
    '{"iteration": 2, "trai', "[1]\n", '{"loss": 1}\n', '{"iteration": "2"}\n', "\x00\n",
    '{"iteration": 2, "validation_loss": null}\n', '{"iteration": 2, "validation_loss": "x"}\n',
    '{"iteration": 2, "training_loss": [1.5]}\n',
]  # fmt: skip


@pytest.mark.parametrize("end", NO_POINTS)
def test_reading_ends_before_the_first_line_that_is_no_point(tmp_path, end):
    write(tmp_path, POINTS[:3], end + json.dumps(step(2)))
    assert read_history(tmp_path) == POINTS[:3]


def test_a_loss_that_is_not_finite_or_is_a_whole_number_is_a_loss(tmp_path):
    points = [{"iteration": 1, "validation_loss": math.inf}, {"iteration": 1, "training_loss": 2}]
    write(tmp_path, points)
    assert read_history(tmp_path) == points


def test_without_a_file_there_are_no_points(tmp_path):
    assert read_history(tmp_path) == []


def test_the_point_of_a_step_has_its_speed_and_no_infinite_norm():
    config = RunConfig().replace(batch_size=2, gradient_accumulation_steps=3, context_length=10)
    point = step_point(7, config, 1.5, 0.25, 1e-3, 4.0)
    assert point == {
        "iteration": 7, "training_loss": 1.5, "learning_rate": 1e-3, "gradient_norm": 0.25, "tokens_per_second": 15.0,
        "seconds": 4.0,
    }  # fmt: skip
    assert step_point(7, config, 1.5, math.inf, 1e-3, 4.0)["gradient_norm"] is None
