"""A run folder in use, and what is said when a run fails."""

import signal

import pytest
import torch
from small_runs import in_another_process, quietly, small_run

from tinyllm.training import loop


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


@pytest.mark.parametrize(("size", "steps"), [(4, 2), (9, 1), (7, 3), (1, 5)])
def test_out_of_memory_names_a_smaller_batch_of_the_same_product(text, tmp_path, monkeypatch, size, steps):
    def no_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore lines")

    monkeypatch.setattr(loop, "train_step", no_memory)
    with pytest.raises(RuntimeError) as failure:
        quietly(small_run(text, tmp_path, batch_size=size, gradient_accumulation_steps=steps))
    message = str(failure.value)
    assert "\n" not in message
    assert "out of GPU memory" in message
    if size == 1:
        assert "context_length" in message
        return
    found = {name: int(message.split(f"{name}=")[1].split()[0].strip(",")) for name in
             ("batch_size", "gradient_accumulation_steps")}  # fmt: skip
    assert found["batch_size"] < size
    assert found["batch_size"] * found["gradient_accumulation_steps"] == size * steps
