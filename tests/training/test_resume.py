"""A run that was stopped, killed or moved resumes as if nothing had happened; another run is refused."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from saved_checkpoints import model_and_optimizer
from small_runs import Killed, assert_same_end, equal, losses, quietly, small_run, stop_after, write_text, written

from tinyllm import GPT, DataConfig, ModelConfig, RunConfig, TrainingConfig, load_run, train
from tinyllm.training.checkpoint import find_checkpoint, read_checkpoint, save_checkpoint
from tinyllm.training.resume import check_same_run, restore

BEFORE_ROOMS = Path(__file__).parents[1] / "written_before_rooms"
CLASSIC = RunConfig(
    model=ModelConfig(
        vocab_size=280, context_length=16, embedding_dim=16, num_layers=1, num_heads=2, feedforward_dim=32, dropout=0.1
    ),
    dataset=DataConfig(data="sample.raw", tokenizer="bpe"),
    training=TrainingConfig(
        max_iterations=20, batch_size=2, gradient_accumulation_steps=2, max_learning_rate=1.5e-3,
        min_learning_rate=1.5e-4, warmup_iterations=2, evaluation_interval=5, evaluation_blocks=4,
        checkpoint_interval=5,
    ),
    run_folder="classic",
)  # fmt: skip
SETTINGS = {
    "classic": CLASSIC,
    "muon": CLASSIC.replace(
        norm="rmsnorm", positions="rotary", qk_norm=True, bias=False, optimizer="muon", schedule="warmup_stable_decay",
        run_folder="muon",
    ),
}  # fmt: skip


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


def test_another_configuration_is_refused_naming_what_differs(text, tmp_path):
    quietly(small_run(text, tmp_path, max_iterations=2))
    with pytest.raises(ValueError) as refusal:
        quietly(small_run(text, tmp_path, max_iterations=2, batch_size=3, dropout=0.2))
    message = str(refusal.value)
    assert "\n" not in message
    assert all(part in message for part in (str(tmp_path), "batch_size", "dropout", "8", "6", "0.1", "0.2"))
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


def test_only_what_differs_is_named_and_the_folder_may_differ():
    config = small_run("text", "here")
    check_same_run(config, config.replace(run_folder="there"))
    with pytest.raises(ValueError) as refusal:
        check_same_run(config, config.replace(run_folder="there", seed=3, data="other", num_layers=1))
    assert str(refusal.value) == (
        "here belongs to a run with other settings: num_layers (1 there, 2 now), data ('other' there, 'text' now), "
        "seed (3 there, 0 now); give another run_folder"
    )


def test_restoring_brings_back_weights_optimizer_and_scaler(tmp_path, tiny_config, tokenizer):
    model, optimizer = model_and_optimizer(tiny_config)
    state = {"optimizer": optimizer.state_dict(), "scaler": torch.amp.GradScaler("cpu", init_scale=32.0).state_dict()}
    checkpoint = read_checkpoint(save_checkpoint(1, None, small_run("text", tmp_path), model, tokenizer, state))
    other = GPT(tiny_config)
    restored, scaler = torch.optim.AdamW(other.parameters(), lr=0.5), torch.amp.GradScaler("cpu")
    restore(checkpoint, other, restored, scaler)
    assert equal(dict(other.state_dict()), dict(model.state_dict()))
    assert equal(restored.state_dict(), optimizer.state_dict())
    assert scaler.get_scale() == 32.0
    with pytest.raises(ValueError, match=r"training_state\.pt is from a run with other settings"):
        restore(checkpoint, other, torch.optim.AdamW([other.final_norm.weight]), scaler)


@pytest.mark.parametrize("name", ["classic", "muon"])
def test_a_run_stopped_by_the_code_before_the_rooms_loads_and_ends_as_that_code_ended_it(name, tmp_path, monkeypatch):
    """Two run folders, stopped at iteration 10 of 20, and the weights that the old code itself ended with.

    Here the new code ends with the very same bits (torch 2.13 on a CPU, one thread). Other torch versions and
    processors add up in another order, so the last digits may differ there.
    """
    shutil.copytree(BEFORE_ROOMS / name, tmp_path / name)
    shutil.copy(BEFORE_ROOMS.parent / "sample.raw", tmp_path)
    monkeypatch.chdir(tmp_path)  # the run's config names its text and its folder relative to here
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)  # its device is "auto": the CPU then too
    before = written(Path(name))
    stopped = load_run(name, "latest", device="cpu")
    assert (stopped.iteration, stopped.finished, stopped.history) == (10, False, before)
    assert stopped.config == SETTINGS[name]
    assert stopped.generate("The", maximum_length=3).startswith("The")

    run = train(stopped.config, progress=False)
    assert (run.iteration, run.finished) == (20, True)
    assert run.history[: len(before)] == before
    assert [point["iteration"] for point in run.history if "training_loss" in point] == list(range(20))
    assert [point["iteration"] for point in run.history if "validation_loss" in point] == [0, 5, 10, 15, 20]
    expected = load_file(BEFORE_ROOMS / f"{name}-end.safetensors")
    assert run.model.state_dict().keys() == expected.keys()
    for tensor, weight in run.model.state_dict().items():
        torch.testing.assert_close(weight, expected[tensor], rtol=0, atol=1e-6, msg=tensor)
