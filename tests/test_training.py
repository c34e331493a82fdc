"""Training: the loop against one written by hand, and what becomes of a run that is stopped, killed or fails."""

import contextlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import tinyllm
from tinyllm import (
    GPT,
    DataConfig,
    GenerationConfig,
    ModelConfig,
    RunConfig,
    SubWordTokenizer,
    TrainingConfig,
    generate_text,
    load_model,
    load_run,
    train,
)
from tinyllm.text import tinywiki
from tinyllm.text.batches import Blocks
from tinyllm.text.prepared import prepare
from tinyllm.training import loop as training
from tinyllm.training.checkpoint import find_checkpoint, load_training_state

CLOCK = ("tokens_per_second", "seconds")  # what differs between two runs of the same numbers


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


def quietly(config: RunConfig, **arguments: object) -> tinyllm.Run:
    return train(config, progress=False, **arguments)


def stop_after(iterations: int):
    """An `on_step` that stops the run when so many steps are done."""
    return lambda point: "training_loss" in point and point["iteration"] == iterations - 1


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


@pytest.fixture(scope="module")
def uninterrupted(text, tmp_path_factory) -> Path:
    """The folder of a run of ten steps with dropout that nothing interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    quietly(small_run(text, folder))
    return folder


# --- The numbers ---


def test_training_learns_a_small_text(text, tmp_path):
    run = quietly(small_run(text, tmp_path, max_iterations=120, dropout=0.0))
    held_out = [point["validation_loss"] for point in run.history if "validation_loss" in point]
    assert held_out[0] == pytest.approx(math.log(run.tokenizer.vocab_size), rel=0.02)  # knows nothing yet
    assert held_out[-1] < 0.5 * held_out[0]
    assert np.mean(losses(run)[-10:]) < 0.5 * losses(run)[0]
    assert run.finished
    assert not run.model.training


def test_a_loop_written_by_hand_gives_the_same_losses_and_weights(text, tmp_path):
    config = small_run(text, tmp_path, dropout=0.0, max_iterations=8, max_gradient_norm=0.3, seed=5)
    run = quietly(config)
    data = prepare(config.dataset, 300, progress=False)
    blocks = Blocks(data.splits["train"], 16, seed=5)
    torch.manual_seed(5)
    model = GPT(ModelConfig(data.tokenizer.vocab_size, 16, 16, 2, 2, 32, 0.0))
    matrices = [p for name, p in model.named_parameters() if name.endswith("weight") and "norm" not in name]
    others = [p for name, p in model.named_parameters() if name.endswith("bias") or "norm" in name]
    assert len(matrices) + len(others) == len(list(model.parameters()))
    adam = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.95)
    )
    expected, clipped = [], 0
    for step in range(8):
        cosine = (1 + math.cos(math.pi * (step - 2) / (8 - 2))) / 2
        rate = 1e-2 * (step + 1) / 3 if step < 2 else 1e-3 + (1e-2 - 1e-3) * cosine
        ids, targets = (torch.tensor(part) for part in blocks.batch(step * 8, 8))
        logits = model(ids)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        adam.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters()))
        clipped += norm > 0.3
        for parameter in model.parameters():
            parameter.grad *= min(1.0, 0.3 / norm)
        for group in adam.param_groups:
            group["lr"] = rate
        adam.step()
        expected.append((loss.item(), norm, rate))
    assert clipped > 0  # otherwise this would say nothing about clipping
    steps = [point for point in run.history if "training_loss" in point]
    found = [(point["training_loss"], point["gradient_norm"], point["learning_rate"]) for point in steps]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], weight, rtol=0, atol=2e-5, msg=name)


def test_accumulation_of_n_equals_one_n_times_larger_batch(text, tmp_path):
    """The same global batch, however it is cut, gives the same losses and weights."""
    shapes = [(8, 1), (2, 4), (1, 8)]
    runs = [
        quietly(small_run(text, tmp_path / str(size), dropout=0.0, batch_size=size, gradient_accumulation_steps=steps))
        for size, steps in shapes
    ]
    for run in runs[1:]:
        np.testing.assert_allclose(losses(run), losses(runs[0]), rtol=0, atol=1e-5)
        for name, weight in runs[0].model.state_dict().items():
            torch.testing.assert_close(run.model.state_dict()[name], weight, rtol=0, atol=1e-4, msg=name)


def test_held_out_text_is_measured_on_the_same_blocks_each_time(text, tmp_path, monkeypatch):
    seen = []
    original = training.mean_loss

    def spy(model, ids, targets, *rest):
        seen.append((ids.copy(), targets.copy()))
        return original(model, ids, targets, *rest)

    monkeypatch.setattr(training, "mean_loss", spy)
    config = small_run(text, tmp_path)
    run = quietly(config)
    measured = [point for point in run.history if "validation_loss" in point]
    assert [point["iteration"] for point in measured] == [0, 4, 8, 10]
    assert len(seen) == 4
    assert all(np.array_equal(ids, seen[0][0]) and np.array_equal(t, seen[0][1]) for ids, t in seen)
    held_out = prepare(config.dataset, 300, progress=False).splits["held_out"].tokens
    stream = " ".join(map(str, held_out))
    assert all(" ".join(map(str, [*row, last[-1]])) in stream for row, last in zip(*seen[0], strict=True))
    ids, targets = (torch.tensor(part) for part in seen[0])
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(run.model(ids).flatten(0, 1), targets.flatten()).item()
    assert measured[-1]["validation_loss"] == pytest.approx(expected, abs=1e-6)


def test_tinywiki_is_watched_beside_its_floor(tmp_path, monkeypatch):
    monkeypatch.setattr(tinywiki, "SPLITS", {"train": 150, "validation": 3, "test": 3})
    tinywiki.articles.cache_clear()
    try:
        config = small_run("tinywiki", tmp_path, max_iterations=1, block_begin="document")
        points = [point for point in quietly(config).history if "validation_loss" in point]
        held_out = [a for a in tinywiki.articles("train") if a.text not in _training_texts(config)]
    finally:
        tinywiki.articles.cache_clear()
    assert len(held_out) == 2  # 1% of 150
    tokenizer = load_run(tmp_path).tokenizer
    tokens = sum(len(tokenizer.encode(article.text)) + 1 for article in held_out)
    floor = sum(article.nats for article in held_out) / tokens
    assert [point["entropy_floor"] for point in points] == [pytest.approx(floor)] * 2
    assert set(points[0]["by_label"]) == {"grammar", "choice", "recall", "world"}
    assert points[0]["by_label"]["grammar"] == pytest.approx(math.log(tokenizer.vocab_size), rel=0.05)


def _training_texts(config: RunConfig) -> set[str]:
    data = prepare(config.dataset, config.model.vocab_size, progress=False)
    split = data.splits["train"]
    ends = [*split.starts[1:], len(split.tokens)]
    return {data.tokenizer.decode(split.tokens[a + 1 : b].tolist()) for a, b in zip(split.starts, ends, strict=True)}


def test_the_callers_random_numbers_are_left_alone(text, tmp_path):
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    expected = torch.rand(3), random.random(), np.random.rand()
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    quietly(small_run(text, tmp_path, max_iterations=1))
    assert torch.equal(torch.rand(3), expected[0])
    assert (random.random(), np.random.rand()) == expected[1:]


def test_the_seed_decides_the_run_and_nothing_else_does(text, tmp_path):
    torch.manual_seed(1)
    one = quietly(small_run(text, tmp_path / "one", max_iterations=3))
    torch.manual_seed(2)
    same = quietly(small_run(text, tmp_path / "same", max_iterations=3))
    other = quietly(small_run(text, tmp_path / "other", max_iterations=3, seed=1))
    assert losses(one) == losses(same)
    assert losses(one) != losses(other)


# --- History and progress ---


def test_history_file_holds_every_point(text, tmp_path):
    seen = []
    run = quietly(small_run(text, tmp_path), on_step=lambda point: seen.append(point))
    assert written(tmp_path) == run.history == seen
    steps = [point for point in run.history if "training_loss" in point]
    assert [point["iteration"] for point in steps] == list(range(10))
    for point in steps:
        assert point["tokens_per_second"] * point["seconds"] == pytest.approx(4 * 2 * 16)
    assert [point["learning_rate"] for point in steps[:3]] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2])


def test_bar_shows_loss_speed_and_time_left(text, tmp_path, capsys):
    train(small_run(text, tmp_path))
    errors = capsys.readouterr().err
    assert all(word in errors for word in ("loss ", "tokens/s", "10/10", "<")), errors
    quietly(small_run(text, tmp_path / "quiet"))
    assert capsys.readouterr().err == ""


# --- Stopping and going on ---


@pytest.mark.parametrize("stop", [1, 4, 7])  # 4 is also a point of measurement
def test_stopped_and_resumed_ends_bit_for_bit_as_if_uninterrupted(text, tmp_path, uninterrupted, stop, capsys):
    config = small_run(text, tmp_path)
    first = quietly(config, on_step=stop_after(stop))
    assert (first.iteration, first.finished) == (stop, False)
    assert f"{stop} iterations" in capsys.readouterr().out
    assert [folder.name for folder in tmp_path.glob("step-*")] == [f"step-{stop:06d}"]
    second = quietly(config)
    assert second.finished
    assert_same_end(tmp_path, uninterrupted)
    assert written(tmp_path) == second.history


MODERN = {
    "activation": "relu_squared", "norm": "rmsnorm", "positions": "rotary", "num_kv_heads": 1, "qk_norm": True,
    "bias": False, "zero_init": True, "logit_softcap": 30.0, "optimizer": "muon", "schedule": "warmup_stable_decay",
    "decay_fraction": 0.5, "min_learning_rate": 0.0,
}  # fmt: skip


def test_the_modern_recipe_learns_and_resumes_bit_for_bit(text, tmp_path):
    whole, parts = (small_run(text, tmp_path / name, max_iterations=60, **MODERN) for name in ("whole", "parts"))
    run = quietly(whole)
    assert losses(run)[-1] < 0.5 * losses(run)[0]
    rates = [point["learning_rate"] for point in run.history if "training_loss" in point]
    assert max(rates) == rates[2] == rates[30] > rates[-1] > 0
    for stop in (1, 37):
        assert quietly(parts, on_step=stop_after(stop)).iteration == stop
    assert quietly(parts).finished
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


def test_dropout_is_at_work_in_the_runs_compared(text, tmp_path, uninterrupted):
    """Otherwise the test above would say nothing about dropout's random state."""
    without = quietly(small_run(text, tmp_path, dropout=0.0))
    assert losses(without)[0] != pytest.approx(written(uninterrupted)[1]["training_loss"], abs=1e-5)


class Killed(BaseException):
    pass


def test_killed_long_after_a_checkpoint_goes_on_from_it(text, tmp_path, uninterrupted):
    """What was written after the checkpoint, and a line cut off in the middle, is taken back."""
    config = small_run(text, tmp_path)
    quietly(config, on_step=stop_after(3))

    def kill(point):
        if point["iteration"] == 7:
            raise Killed

    with pytest.raises(Killed):
        quietly(config, on_step=kill)
    assert find_checkpoint(tmp_path).iteration == 3
    assert written(tmp_path)[-1]["iteration"] == 7
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"iteration": 8, "training_lo')
    quietly(config)
    assert_same_end(tmp_path, uninterrupted)


def test_killed_before_the_first_checkpoint_begins_anew(text, tmp_path, uninterrupted):
    config = small_run(text, tmp_path)

    def kill(point):
        if point["iteration"] == 2:
            raise Killed

    with pytest.raises(Killed):
        quietly(config, on_step=kill)
    assert find_checkpoint(tmp_path) is None
    quietly(config)
    assert_same_end(tmp_path, uninterrupted)


def test_a_checkpoint_is_also_due_by_the_clock(text, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(Killed):
        quietly(small_run(text, tmp_path), on_step=_killer(5))
    assert find_checkpoint(tmp_path).iteration == 5


def _killer(iteration: int):
    def kill(point):
        if "training_loss" in point and point["iteration"] == iteration:
            raise Killed

    return kill


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
def in_another_process(config: RunConfig, pause: float):
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_go_on_and_the_rest_is_bit_exact(text, tmp_path, uninterrupted, number):
    config = small_run(text, tmp_path)
    with in_another_process(config, pause=0.3) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "the same call goes on" in out
    assert f"iterations {find_checkpoint(tmp_path).iteration}\n" in out
    assert 3 <= find_checkpoint(tmp_path).iteration < 10
    quietly(config)
    assert_same_end(tmp_path, uninterrupted)


def test_signal_handlers_are_given_back(text, tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    during = []
    quietly(
        small_run(text, tmp_path, max_iterations=1),
        on_step=lambda point: during.append(signal.getsignal(signal.SIGINT)),
    )
    assert during[0] is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_ctrl_c_interrupts_at_once(text, tmp_path):
    def impatient(point):
        if point["iteration"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        quietly(small_run(text, tmp_path), on_step=impatient)
    assert find_checkpoint(tmp_path) is None


def test_training_from_another_thread(text, tmp_path, uninterrupted):
    """Notebook widgets and servers do; Python allows signal handlers in the main thread only."""
    results = []
    thread = threading.Thread(target=lambda: results.append(quietly(small_run(text, tmp_path))))
    thread.start()
    thread.join()
    assert results[0].finished
    assert_same_end(tmp_path, uninterrupted)


# --- The run folder ---


def test_a_finished_run_returns_at_once_without_its_data(text, tmp_path, monkeypatch):
    own = write_text(tmp_path / "own.txt", 300)
    config = small_run(own, tmp_path / "run", max_iterations=2)
    done = quietly(config)
    own.unlink()
    monkeypatch.setattr(training, "prepare", lambda *_: pytest.fail("data was prepared"))
    again = quietly(config)
    assert again.finished
    assert equal(again.model.state_dict(), done.model.state_dict())
    assert again.history == done.history
    assert again.tokenizer.fingerprint == done.tokenizer.fingerprint


def test_another_configuration_is_refused_naming_what_differs(text, tmp_path):
    quietly(small_run(text, tmp_path, max_iterations=2))
    with pytest.raises(ValueError) as refusal:
        quietly(small_run(text, tmp_path, max_iterations=2, batch_size=3, dropout=0.2))
    message = str(refusal.value)
    assert "\n" not in message
    assert all(part in message for part in (str(tmp_path), "batch_size", "dropout", "4", "3", "0.1", "0.2"))
    assert "seed" not in message
    assert "run_folder" in message


def test_a_moved_run_folder_still_belongs_to_its_run(text, tmp_path):
    config = small_run(text, tmp_path / "here", max_iterations=2)
    quietly(config)
    (tmp_path / "here").rename(tmp_path / "there")
    assert quietly(config, run_folder=tmp_path / "there").finished


def test_a_text_that_changed_under_a_stopped_run_is_refused(tmp_path):
    own = write_text(tmp_path / "own.txt", 300)
    config = small_run(own, tmp_path / "run")
    quietly(config, on_step=stop_after(2))
    own.write_text(own.read_text().replace("nobody", "somebody else"))
    with pytest.raises(ValueError, match=r"own\.txt has changed"):
        quietly(config)


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


# --- What can go wrong ---


def test_unknown_settings_and_presets_get_near_names(text, tmp_path):
    with pytest.raises(ValueError, match=r"max_iteration'.*max_iterations"):
        train("laptop", max_iteration=3)
    with pytest.raises(ValueError, match=r"lapptop.*laptop"):
        train("lapptop")
    with pytest.raises(ValueError, match="known are laptop, quickstart, wikitext103"):
        train("enormous")


def test_a_vocabulary_that_is_not_gpt2s_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="vocab_size=50257"):
        quietly(small_run(text, tmp_path, tokenizer="gpt2"))


def test_a_text_that_teaches_fewer_tokens_makes_a_smaller_vocabulary(tmp_path):
    own = write_text(tmp_path / "own.txt", 200)
    run = quietly(small_run(own, tmp_path / "run", vocab_size=5000, max_iterations=1))
    assert run.tokenizer.vocab_size < 5000
    assert run.model.config.vocab_size == run.tokenizer.vocab_size
    assert load_run(tmp_path / "run").model.config.vocab_size == run.tokenizer.vocab_size


def _forward_that_turns_bad(monkeypatch, calls_before: int, spoil):
    """From one training call on, the loss goes through `spoil`. Returns the weights as each training call met them."""
    forward, weights = GPT.forward, []

    def bad(self, token_ids, targets=None, cache=None):
        loss = forward(self, token_ids, targets, cache)
        if not self.training:
            return loss
        weights.append({name: tensor.clone() for name, tensor in self.state_dict().items()})
        weights[-1]["model"] = self
        return spoil(loss) if len(weights) > calls_before else loss

    monkeypatch.setattr(GPT, "forward", bad)
    return weights


class InfiniteGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * math.inf


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda loss: loss * math.nan, "nan"),
        (lambda loss: loss + math.inf, "inf"),
        (InfiniteGradient.apply, "gradient"),
    ],
)
def test_a_loss_that_is_not_finite_stops_before_any_weight_changes(text, tmp_path, monkeypatch, spoil, word):
    config = small_run(text, tmp_path, checkpoint_interval=2, gradient_accumulation_steps=1)
    weights = _forward_that_turns_bad(monkeypatch, 5, spoil)
    with pytest.raises(RuntimeError) as failure:
        quietly(config)
    message = str(failure.value)
    assert "\n" not in message
    assert "iteration 5" in message
    assert word in message
    assert str(tmp_path / "step-000004") in message
    assert "max_learning_rate" in message
    before = weights[-1]
    model = before.pop("model")
    assert equal(dict(model.state_dict()), before)
    assert all("nan" not in line for line in (tmp_path / "history.jsonl").read_text().lower().splitlines())
    monkeypatch.undo()
    assert find_checkpoint(tmp_path).iteration == 4


def test_a_held_out_loss_that_is_not_finite_is_never_saved(text, tmp_path, monkeypatch):
    measured = iter([5.0, 4.0, math.nan])  # at 0, 4 and 8
    monkeypatch.setattr(training, "mean_loss", lambda *_: next(measured))
    with pytest.raises(RuntimeError, match=r"iteration 8 is nan.*step-000004"):
        quietly(small_run(text, tmp_path, checkpoint_interval=4))
    assert find_checkpoint(tmp_path).iteration == 4


def test_diverging_for_real_stops_the_run(text, tmp_path):
    config = small_run(text, tmp_path, max_learning_rate=1e30, warmup_iterations=0, max_iterations=50)
    with pytest.raises(RuntimeError, match=r"loss of iteration \d+ is .*no checkpoint yet"):
        quietly(config)


@pytest.mark.parametrize(("size", "steps"), [(4, 2), (9, 1), (7, 3), (1, 5)])
def test_out_of_memory_names_a_smaller_batch_of_the_same_product(text, tmp_path, monkeypatch, size, steps):
    def no_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore lines")

    monkeypatch.setattr(training, "train_step", no_memory)
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


def test_a_checkpoint_that_cannot_be_saved_does_not_stop_the_training(text, tmp_path, monkeypatch, capsys):
    config = small_run(text, tmp_path, checkpoint_interval=2)
    save, attempts = training.save_checkpoint, []

    def disk_full_for_a_while(iteration, *rest):
        attempts.append(iteration)
        if iteration in (4, 6):
            raise OSError(28, "No space left on device")
        return save(iteration, *rest)

    monkeypatch.setattr(training, "save_checkpoint", disk_full_for_a_while)
    run = quietly(config)
    lines = [line for line in capsys.readouterr().out.splitlines() if "could not be saved" in line]
    assert len(lines) == 2
    assert all("No space left" in line and "step-000002" in line and "goes on" in line for line in lines)
    assert attempts == [2, 4, 6, 8, 10]
    assert run.finished


@pytest.mark.parametrize("stop", [None, 5])
def test_a_run_whose_last_save_fails_ends_in_an_error(text, tmp_path, monkeypatch, uninterrupted, stop):
    config = small_run(text, tmp_path, checkpoint_interval=3)
    save = training.save_checkpoint

    def disk_full(iteration, *rest):
        if iteration > 3:
            raise OSError(28, "No space left on device")
        return save(iteration, *rest)

    monkeypatch.setattr(training, "save_checkpoint", disk_full)
    with pytest.raises(OSError, match=rf"iteration {stop or 10} could not be saved .*No space left.*step-000003"):
        quietly(config, on_step=stop_after(stop) if stop else None)
    monkeypatch.undo()
    quietly(config)  # with room on the disk, the same call goes on
    assert equal(load_run(tmp_path, "latest").model.state_dict(), load_run(uninterrupted, "latest").model.state_dict())


# --- The full size ---


@pytest.fixture
def large_folder(tmp_path):
    """A run folder that is gone after the test: pytest would keep its gigabyte for a while."""
    yield tmp_path / "run"
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


def test_the_full_run_at_full_size(tmp_path, large_folder):
    """`train("wikitext103")` itself, only shorter, on a text of the user's: 51 million parameters."""
    own = write_text(tmp_path / "own.txt", 1200)
    folder = large_folder
    overrides = {
        "max_iterations": 2, "batch_size": 1, "gradient_accumulation_steps": 1, "data": own, "run_folder": folder,
        "evaluation_blocks": 1,
    }  # fmt: skip
    first = tinyllm.train("wikitext103", on_step=stop_after(1), progress=False, **overrides)
    assert sum(parameter.numel() for parameter in first.model.parameters()) == 51_213_824
    assert first.iteration == 1
    assert [path.name for path in folder.glob("step-*")] == ["step-000001"]
    del first
    run = tinyllm.train("wikitext103", progress=False, **overrides)
    assert run.finished
    assert [point["iteration"] for point in run.history] == [0, 0, 1, 2]
    assert run.history[0]["validation_loss"] == pytest.approx(math.log(50_257), rel=0.02)
    size = sum(path.stat().st_size for path in (folder / "step-000002").iterdir())
    assert size == pytest.approx(615e6, rel=0.02)
    evaluation = run.evaluate("test", data=str(_a_paragraph(tmp_path)))
    assert 5 < evaluation.nats_per_token < math.log(50_257) + 0.5
    del run

    tokenizer = SubWordTokenizer("gpt2")
    model = load_model(folder)
    config = GenerationConfig(maximum_length=5, temperature=0.8)
    text = generate_text(model, tokenizer, "World War II was", config)
    assert text.startswith("World War II was")
    assert model.config.context_length == 512


def _a_paragraph(folder: Path) -> Path:
    path = folder / "paragraph.txt"
    path.write_text("the old dog sings and nobody runs home .\n")
    return path
