"""A run folder in use, and what is said when a run fails."""

import math
import signal

import pytest
import torch
from small_runs import in_another_process, quietly, small_run

from tinyllm.system.distributed import Processes
from tinyllm.training.run_folder import hold, last_good, not_finite

ALONE = Processes(torch.device("cpu"))


def test_a_folder_in_use_is_refused_and_free_again_after_a_kill(text, tmp_path):
    config = small_run(text, tmp_path)
    with in_another_process(config, pause=60) as process:
        with pytest.raises(RuntimeError, match="in use") as refusal:
            quietly(config)
        assert str(tmp_path) in str(refusal.value)
        process.send_signal(signal.SIGKILL)
        process.wait()
    (tmp_path / ".lock").unlink()
    with in_another_process(config, pause=60), pytest.raises(RuntimeError, match="in use"):
        quietly(config)
    assert quietly(config).finished


def test_a_folder_in_use_by_another_thread_of_this_process_is_refused(text, tmp_path):
    config = small_run(text, tmp_path, max_iterations=1)
    refusals = []

    def train_again(point):
        with pytest.raises(RuntimeError, match="in use") as refusal:
            quietly(config)
        refusals.append(refusal)

    assert quietly(config, on_step=train_again).finished
    assert refusals


def test_a_lock_is_made_with_its_folder_and_given_back_after_an_error(tmp_path):
    folder = tmp_path / "new" / "run"
    with pytest.raises(KeyError), hold(folder, ALONE):
        assert folder.is_dir()
        with pytest.raises(RuntimeError, match="in use"), hold(folder, ALONE):
            pass
        raise KeyError
    with hold(folder, ALONE):
        pass


def test_only_the_first_process_locks(tmp_path):
    second = Processes(torch.device("cpu"), rank=1, world_size=2)
    with hold(tmp_path / "run", second):
        assert not (tmp_path / "run").exists()
    with hold(tmp_path / "run", ALONE), hold(tmp_path / "run", second):
        pass


def test_the_errors_name_the_last_good_checkpoint_and_what_to_try(saved):
    (saved.folder / "step-000003" / "model.safetensors").unlink()
    good = f"the last good checkpoint is {saved.folder / 'step-000002'}"
    assert last_good(saved.config) == good
    message = str(not_finite(saved.config, 9, math.inf))
    assert message.startswith(f"the loss of iteration 9 is inf; {good}. Try a lower max_learning_rate")
    nowhere = saved.config.replace(run_folder=saved.folder / "nowhere")
    assert "there is no checkpoint yet" in str(not_finite(nowhere, 0, math.nan))
