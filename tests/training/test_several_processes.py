"""Several processes that train one model: the numbers of one process, and one of them that writes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import assert_same_end, losses, small_run, write_text, written

from tinyllm import RunConfig, load_run, train

SCRIPT = """
import json, os, sys, time
import torch
from tinyllm import GPT, RunConfig, train
from tinyllm.training import loop as training
from tinyllm.training.micro_batches import Cut
rank = int(os.environ["RANK"])
notes = os.path.join(sys.argv[2], f"rank-{rank}.json")
called = []
for name in ("save_checkpoint", "History"):
    def spy(*arguments, original=getattr(training, name), name=name, **keywords):
        if name == "save_checkpoint" or arguments[2]:
            called.append(name)
        return original(*arguments, **keywords)
    setattr(training, name, spy)
on_step = lambda point: time.sleep(float(sys.argv[3]))
memory, passes = json.loads(sys.argv[4]), []
if memory:
    training.largest_cut = lambda *_: Cut("here", memory["cut"])
    forward = GPT.forward
    def run_out(gradient):
        if len(passes) > memory["passes"] and passes[-1] > memory["room"][rank]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\\nmore lines")
    def counted(model, ids, *rest):
        if model.training:
            passes.append(len(ids))
        if len(passes) == 1:  # the gradient that comes last, when all others are there
            model.token_embedding.weight.register_hook(run_out)
        return forward(model, ids, *rest)
    GPT.forward = counted
try:
    run = train(RunConfig.from_dict(json.loads(sys.argv[1])), on_step=on_step)
except (ValueError, RuntimeError) as error:
    json.dump(str(error), open(notes, "w"))
    sys.exit(0)
weights = {name: tensor.double().sum().item() for name, tensor in run.model.state_dict().items()}
signs = {"iteration": run.iteration, "weights": weights, "called": called, "passes": passes}
left = {"joined": torch.distributed.is_initialized()}
if os.path.isdir("/proc/self/task"):
    left["threads"] = [open(f"/proc/self/task/{number}/comm").read() for number in os.listdir("/proc/self/task")]
json.dump(signs | left, open(notes, "w"))
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(
    config: RunConfig, folder: Path, processes: int = 2, pause: float = 0.0, memory: dict | None = None
) -> subprocess.Popen:
    """Start a script under torchrun on the loopback interface.

    `memory`: the cut to begin with, and after how many passes each process has room for how many blocks.
    """
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    command += ["--master-addr=127.0.0.1", f"--master-port={free_port()}", script]
    command += [json.dumps(config.to_dict()), folder, str(pause), json.dumps(memory)]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def finish(process: subprocess.Popen) -> tuple[str, str]:
    try:
        return process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def notes(folder: Path, rank: int) -> dict | str:
    """What one process wrote at its end: how it ended, or its error."""
    return json.loads((folder / f"rank-{rank}.json").read_text())


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    return write_text(tmp_path_factory.mktemp("text") / "words.txt")


@pytest.fixture(scope="module", params=["adamw", "muon"])
def both(text, tmp_path_factory, request):
    """The same configuration trained by one process, and by two under torchrun: (run, folder, standard error)."""
    folder = tmp_path_factory.mktemp("distributed")
    overrides = {"gradient_accumulation_steps": 4, "checkpoint_interval": 5, "optimizer": request.param}
    config = small_run(text, folder / "two", dropout=0.0, **overrides)
    alone = train(config, progress=False, run_folder=folder / "one")
    process = start(config, folder)
    _, errors = finish(process)
    assert process.returncode == 0, errors
    return alone, folder, errors


def test_two_processes_give_the_losses_and_weights_of_one(both):
    alone, folder, _ = both
    together = load_run(folder / "two", "latest")
    assert len(losses(alone)) == 10
    np.testing.assert_allclose(losses(together), losses(alone), rtol=0, atol=1e-5)
    for kind in ("validation_loss", "gradient_norm", "learning_rate"):
        values = [[point[kind] for point in run.history if kind in point] for run in (together, alone)]
        np.testing.assert_allclose(*values, rtol=1e-4, err_msg=kind)
    for name, weight in alone.model.state_dict().items():
        torch.testing.assert_close(together.model.state_dict()[name], weight, rtol=0, atol=1e-4, msg=name)


def test_both_processes_end_with_the_same_weights(both):
    _, folder, _ = both
    assert notes(folder, 0)["weights"] == notes(folder, 1)["weights"]
    assert notes(folder, 0)["iteration"] == notes(folder, 1)["iteration"] == 10


def test_only_the_first_process_writes_and_shows_a_bar(both):
    _, folder, errors = both
    assert notes(folder, 0)["called"] == ["History", *["save_checkpoint"] * 4]  # 4, 5, 8, 10
    assert notes(folder, 1)["called"] == []
    iterations = [point["iteration"] for point in written(folder / "two") if "training_loss" in point]
    assert iterations == list(range(10))
    assert len(re.findall(r"\D0/10 \[", errors)) == 2  # one bar begins, and again below the line about the text
    assert "10/10" in errors


def test_the_process_group_is_left_at_the_end(both):
    _, folder, _ = both
    for rank in (0, 1):
        assert not notes(folder, rank)["joined"]
        # A thread of gloo's that outlives the group can abort the process at its exit.
        assert not [name for name in notes(folder, rank).get("threads", []) if "gloo" in name]


def test_a_checkpoint_does_not_depend_on_the_number_of_processes(both, tmp_path):
    """One process goes on where two stopped."""
    alone, folder, _ = both
    shutil.copytree(folder / "two", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "step-000010")
    assert load_run(tmp_path / "run").iteration == 8  # its best
    resumed = train(load_run(tmp_path / "run").config, progress=False)
    assert resumed.finished
    np.testing.assert_allclose(losses(resumed), losses(alone), rtol=0, atol=1e-5)


def test_steps_that_cannot_be_shared_are_a_clear_error(text, tmp_path):
    config = small_run(text, tmp_path / "run", batch_size=3, gradient_accumulation_steps=3, max_iterations=2)
    process = start(config, tmp_path)
    _, errors = finish(process)
    assert process.returncode == 0, errors
    for rank in (0, 1):
        message = notes(tmp_path, rank)
        assert "batch_size times gradient_accumulation_steps (9 blocks a step)" in message
        assert "2 processes" in message
    assert not list((tmp_path / "run").glob("step-*"))


def passes_with(text: Path, folder: Path, **memory: object) -> list[list[int]]:
    """Train in a new folder, by two processes with little memory; the blocks in each of their forward passes."""
    folder.mkdir()
    process = start(small_run(text, folder / "run"), folder, memory={"passes": 0} | memory)
    _, errors = finish(process)
    assert process.returncode == 0, errors
    found = [notes(folder, rank) for rank in (0, 1)]
    assert found[0]["weights"] == found[1]["weights"]
    return [one["passes"] for one in found]


def test_memory_that_runs_out_in_one_of_two_is_found_out_before_any_exchange(text, tmp_path):
    """Each has four blocks a step. Bit for bit as if the passes had been chosen; two steps are tried before."""
    chosen = passes_with(text, tmp_path / "chosen", cut=2, room=[2, 2])
    assert chosen == [[2] * 2 * (10 + 2)] * 2
    found = passes_with(text, tmp_path / "found", cut=4, room=[4, 2])
    assert found == [[4, *chosen[0]]] * 2
    assert_same_end(tmp_path / "found" / "run", tmp_path / "chosen" / "run")


def test_memory_that_the_optimizers_averages_take_is_found_out_before_the_second_step(text, tmp_path):
    found = passes_with(text, tmp_path / "found", cut=4, room=[2, 4], passes=2)
    assert found == [[4, 4, 4, *[2] * 2 * (9 + 1)]] * 2


def test_without_memory_for_a_single_block_both_end_with_the_same_advice(text, tmp_path):
    process = start(small_run(text, tmp_path / "run"), tmp_path, memory={"cut": 2, "room": [4, 0], "passes": 0})
    _, errors = finish(process)
    assert process.returncode == 0, errors
    assert notes(tmp_path, 0) == notes(tmp_path, 1)
    assert re.fullmatch("out of GPU memory with 1 blocks in a forward pass: use recompute=True, .*", notes(tmp_path, 0))


def test_a_stop_signal_ends_both_at_the_same_iteration_and_saves(text, tmp_path):
    config = small_run(text, tmp_path / "run", dropout=0.0, max_iterations=2000)
    process = start(config, tmp_path, pause=0.1)
    history = tmp_path / "run" / "history.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (history.exists() and history.read_text().count("\n") > 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, errors = finish(process)
    assert "the same call resumes" in out, errors
    stopped = notes(tmp_path, 0)
    assert 3 <= stopped["iteration"] < 2000
    assert stopped["weights"] == notes(tmp_path, 1)["weights"]
    assert load_run(tmp_path / "run", "latest").iteration == stopped["iteration"]


def test_the_documented_command_works_and_speaks_once(tmp_path):
    write_text(tmp_path / "text.txt")
    options = f"--data {tmp_path / 'text.txt'} --run-folder {tmp_path / 'run'} --vocab-size 300 --context-length 16"
    options += " --embedding-dim 16 --num-layers 1 --num-heads 2 --feedforward-dim 32 --max-iterations 3 --json"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    command += [f"--master-port={free_port()}", "-m", "tinyllm", "train", "laptop", *options.split()]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["iteration"] == 3
    assert load_run(tmp_path / "run").finished
