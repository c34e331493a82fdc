"""A long training needs no more memory and no more open files than a short one."""

import gc

import psutil
import pytest
from small_runs import quietly, small_run

STEPS = [400, pytest.param(30_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]


@pytest.mark.parametrize("steps", STEPS)
def test_hundreds_of_epochs_need_no_more_memory_and_open_files(steps, tmp_path):
    """The text is so short that each step reads more than one epoch; every hundredth one saves."""
    text = tmp_path / "text.txt"
    text.write_text("a cat sat on the mat\n" * 10)
    process, seen = psutil.Process(), {}

    def note(point):
        if "training_loss" in point and point["iteration"] in (steps // 3, steps - 1):
            gc.collect()  # what earlier tests left open closes before the first count, not between the two
            seen[point["iteration"]] = process.memory_info().rss, process.num_fds()

    config = small_run(
        text, tmp_path / "run", max_iterations=steps, num_layers=1, gradient_accumulation_steps=1,
        evaluation_interval=50, checkpoint_interval=100,
    )  # fmt: skip
    run = quietly(config, on_step=note)
    assert len(run.data.splits["train"].tokens) < 5 * config.model.context_length
    (memory, files), (later_memory, later_files) = seen.values()
    kept = 1000 * steps  # bytes that the history's points may take
    assert later_memory - memory < 5e6 + kept
    assert later_files <= files
