"""A training that is killed again and again ends as one that nobody touched."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from test_training import assert_same_end, small_run, text, uninterrupted  # noqa: F401 (two of them are fixtures)

from tinyllm.checkpoint import find_checkpoint

RUN = """
import json, sys
from tinyllm import RunConfig, train
train(RunConfig.from_dict(json.loads(sys.argv[1])), progress=False)
"""


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 25))])
def test_a_run_killed_at_random_moments_ends_bit_for_bit_as_if_untouched(seed, text, uninterrupted, tmp_path):  # noqa: F811
    """A checkpoint after each step: most kills hit the writing of one."""
    config = small_run(text, tmp_path / "run", checkpoint_interval=1)
    command = [sys.executable, "-c", RUN, json.dumps(config.to_dict())]
    moments = random.Random(seed)
    killed = 0
    while True:
        process = subprocess.Popen(command, env=os.environ)
        try:
            process.wait(3 + moments.uniform(0, 1.5) if killed < 3 else 120)  # importing takes most of it
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        assert process.returncode == 0
        break
    assert find_checkpoint(tmp_path / "run").iteration == 10
    assert_same_end(tmp_path / "run", uninterrupted)
