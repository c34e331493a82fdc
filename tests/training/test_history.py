"""The history of a run: every point in memory and on disk, cut back where a run resumes."""

import pytest
from small_runs import quietly, small_run, written


def test_history_file_holds_every_point(text, tmp_path):
    seen = []
    run = quietly(small_run(text, tmp_path), on_step=lambda point: seen.append(point))
    assert written(tmp_path) == run.history == seen
    steps = [point for point in run.history if "training_loss" in point]
    assert [point["iteration"] for point in steps] == list(range(10))
    for point in steps:
        assert point["tokens_per_second"] * point["seconds"] == pytest.approx(4 * 2 * 16)
    assert [point["learning_rate"] for point in steps[:3]] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2])
