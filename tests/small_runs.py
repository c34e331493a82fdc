"""Runs of a few milliseconds a step that many tests make, stop, damage and compare."""

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import tinyllm
from tinyllm import DataConfig, ModelConfig, RunConfig, TrainingConfig, load_model, train
from tinyllm.training import loop
from tinyllm.training.checkpoint import find_checkpoint, load_training_state
from tinyllm.training.history import History
from tinyllm.training.micro_batches import Cut

CLOCK = ("tokens_per_second", "seconds")  # all that differs between two runs of the same numbers


def write_text(path: Path, lines: int = 1500) -> Path:
    """Sentences drawn from a few words: enough to learn, a moment to tokenise."""
    draw = random.Random(1)
    who, what = "a cat|the old dog|my aunt|nobody".split("|"), "sleeps|sings|runs home|eats fish".split("|")
    drawn = [[draw.choice(who), draw.choice(what), draw.choice(who), draw.choice(what)] for _ in range(lines)]
    path.write_text("".join(f"{a} {b} and {c} {d} .\n" for a, b, c, d in drawn))
    return path


def small_run(text: Path, folder: Path, **overrides: object) -> RunConfig:
    """A run of a few milliseconds a step."""
    config = RunConfig(
        model=ModelConfig(
            vocab_size=300, context_length=16, embedding_dim=16, num_layers=2, num_heads=2, feedforward_dim=32,
            dropout=0.1,
        ),
        dataset=DataConfig(data=str(text), tokenizer="bpe"),
        training=TrainingConfig(
            max_iterations=10, batch_size=4, gradient_accumulation_steps=2, max_learning_rate=1e-2,
            min_learning_rate=1e-3, warmup_iterations=2, evaluation_interval=4, evaluation_blocks=8,
            checkpoint_interval=100, device="cpu",
        ),
        run_folder=str(folder),
    )  # fmt: skip
    steps = overrides.get("max_iterations", 10)
    return config.replace(**{"warmup_iterations": min(2, steps - 1)} | overrides)


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Path:
    return write_text(tmp_path_factory.mktemp("text") / "words.txt")


@pytest.fixture(scope="session")
def uninterrupted(text, tmp_path_factory) -> Path:
    """The folder of a run of ten steps with dropout that nothing interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    quietly(small_run(text, folder))
    return folder


def quietly(config: RunConfig, **arguments: object) -> tinyllm.Run:
    return train(config, progress=False, **arguments)


def stop_after(iterations: int) -> Callable[[dict], bool]:
    """An `on_step` that stops the run when so many steps are done."""
    return lambda point: "training_loss" in point and point["iteration"] == iterations - 1


def cut_into(monkeypatch: pytest.MonkeyPatch, blocks: int, machine: str = "here") -> list[int]:
    """From now on a step may have so many blocks in a forward pass; the list says how many each pass then had."""
    accumulate, sizes = loop.accumulate_gradients, []

    def watched(model, batches, *rest):
        sizes.extend(len(ids) for ids, _ in batches)
        return accumulate(model, batches, *rest)

    monkeypatch.setattr(loop, "largest_cut", lambda *_: Cut(machine, blocks))
    monkeypatch.setattr(loop, "accumulate_gradients", watched)
    return sizes


class Killed(BaseException):
    pass


@contextlib.contextmanager
def killed_after(iteration: int) -> Iterator[None]:
    """Training in here ends as a killed process does, with no chance to save, once this step is written down."""
    add = History.add

    def last(self, point):
        add(self, point)
        if "training_loss" in point and point["iteration"] == iteration:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(History, "add", last)
        yield


def killer(iteration: int) -> Callable[[dict], None]:
    """An `on_step` that kills the run after the step of this index."""

    def kill(point):
        if "training_loss" in point and point["iteration"] == iteration:
            raise Killed

    return kill


def checkpoints(folder: Path) -> list[str]:
    """The names of a run's checkpoints."""
    return sorted(path.name for path in folder.glob("step-*"))


def losses(run: tinyllm.Run) -> list[float]:
    return [point["training_loss"] for point in run.history if "training_loss" in point]


def without_clock(points: list[dict]) -> list[dict]:
    return [{key: value for key, value in point.items() if key not in CLOCK} for point in points]


def written(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def equal(a: object, b: object) -> bool:
    """Bit for bit the same nested state."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def assert_same_end(one: Path, other: Path) -> None:
    """Two run folders end in the same weights, the same optimizer state and the same history."""
    first, second = find_checkpoint(one), find_checkpoint(other)
    assert first.iteration == second.iteration
    assert first.validation_loss == second.validation_loss
    weights = [load_model(checkpoint.folder, "cpu").state_dict() for checkpoint in (first, second)]
    states = [load_training_state(checkpoint) for checkpoint in (first, second)]
    optimizers = states[0]["optimizer"]  # of one, or of two by name
    assert sum(len(one["state"]) for one in ([optimizers] if "state" in optimizers else optimizers.values())) > 10
    assert equal(*weights)
    assert equal(*states)
    assert without_clock(written(one)) == without_clock(written(other))


SCRIPT = """
import json, sys, time
from tinyllm import RunConfig, train
config = RunConfig.from_dict(json.loads(sys.argv[1]))
def on_step(point):
    print("step", point["iteration"], flush=True)
    if point["iteration"] >= 2:
        time.sleep(float(sys.argv[2]))
run = train(config, on_step=on_step, progress=False)
print("iterations", run.iteration)
"""


@contextlib.contextmanager
def in_another_process(config: RunConfig, pause: float) -> Iterator[subprocess.Popen]:
    """A training that has just done step 2, and pauses there and after each further point."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(config.to_dict()), str(pause)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        for line in process.stdout:
            if line == "step 2\n":
                break
        yield process
    finally:
        process.kill()
        process.wait()
