"""A training that is killed again and again ends like one that was never interrupted."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import pytest
from disk import Disk, assert_all_whole, steps_of
from saved_checkpoints import contents, names
from small_runs import assert_same_end, quietly, small_run

from tinyllm import RunConfig
from tinyllm.training.checkpoint import find_checkpoint

# A kill may hit a step, the history's line, the writing of a checkpoint, or the removal of an old one.
RUN = """
import json, sys, time
from tinyllm import RunConfig, train
from tinyllm.system import files
flush = files.flush
def slow_flush(path):
    flush(path)
    time.sleep(0.01)  # a slow disk: more kills hit a half-written checkpoint
files.flush = slow_flush
train(RunConfig.from_dict(json.loads(sys.argv[1])), on_step=lambda point: print(point, flush=True), progress=False)
"""
SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 25))]


def train_and_kill(config: RunConfig, points: int, seconds: float) -> bool:
    """Train in a process of its own and kill it `seconds` after that many points. Returns whether it was killed."""
    command = [sys.executable, "-c", RUN, json.dumps(config.to_dict())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        for _ in range(points):
            process.stdout.readline()
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_killed_at_random_moments_ends_bit_for_bit_as_if_untouched(seed, text, uninterrupted, tmp_path):
    config = small_run(text, tmp_path, checkpoint_interval=1)
    chance = random.Random(seed)
    kills = sum(train_and_kill(config, chance.randint(1, 4), chance.uniform(0, 0.2)) for _ in range(3))
    assert kills > 1
    quietly(config)
    assert find_checkpoint(tmp_path).iteration == 10
    assert not any(name.startswith(".step") for name in names(tmp_path))
    assert_all_whole(tmp_path)
    assert_same_end(tmp_path, uninterrupted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process of its own for each kill would take minutes")
def test_killed_at_any_step_of_a_save_the_good_checkpoints_are_as_they_were(saved, monkeypatch):
    original = saved.folder.with_name("original")
    shutil.copytree(saved.folder, original)
    before = contents(original)
    steps = steps_of(lambda: saved(4, 0.5), monkeypatch)
    assert steps > 15
    unfinished = 0
    for step in range(steps):
        shutil.rmtree(saved.folder)
        shutil.copytree(original, saved.folder)
        child = os.fork()
        if child == 0:
            Disk(monkeypatch, step, lambda _: os.kill(os.getpid(), signal.SIGKILL))
            saved(4, 0.5)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        found = names(saved.folder)
        if "step-000004" not in found:
            assert {name: content for name, content in contents(saved.folder).items() if name in before} == before
        assert_all_whole(saved.folder)
        unfinished += any(name.startswith(".") for name in found)
        saved(5, 0.1)  # the next run of the same folder
        assert_all_whole(saved.folder)
        assert not any(name.startswith(".") for name in names(saved.folder))
    assert unfinished > 10
