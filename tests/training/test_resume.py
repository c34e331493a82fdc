"""A run that was stopped, killed or moved resumes as if nothing had happened; another run is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from saved_checkpoints import model_and_optimizer
from small_runs import (
    assert_same_end,
    checkpoints,
    cut_into,
    equal,
    killed_after,
    losses,
    quietly,
    small_run,
    stop_after,
    write_text,
    written,
)  # fmt: skip

from tinyllm import GPT, DataConfig, ModelConfig, RunConfig, TrainingConfig, load_run, train
from tinyllm.system.distributed import Processes
from tinyllm.training.checkpoint import find_checkpoint, load_training_state, read_checkpoint, save_checkpoint
from tinyllm.training.micro_batches import Cut
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.resume import FREE, check_same_run, restore, resumed_cut
from tinyllm.training.schedule import learning_rate

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


@pytest.mark.parametrize("stop", [1, 4, 7, 9])  # 4 is also a point of measurement, 9 just before the end
def test_stopped_and_resumed_ends_bit_for_bit_as_if_uninterrupted(text, tmp_path, uninterrupted, stop, capsys):
    config = small_run(text, tmp_path)
    first = quietly(config, on_step=stop_after(stop))
    assert (first.iteration, first.finished) == (stop, False)
    assert f"{stop} iterations" in capsys.readouterr().out
    best = {7: [4], 9: [4, 8]}.get(stop, [])
    assert checkpoints(tmp_path) == [f"step-{iteration:06d}" for iteration in (*best, stop)]
    second = quietly(config)
    assert second.finished
    assert_same_end(tmp_path, uninterrupted)
    assert checkpoints(tmp_path) == checkpoints(uninterrupted)
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
    with killed_after(7):
        quietly(config)
    assert find_checkpoint(tmp_path).iteration == 4  # its held-out loss was the best so far
    assert written(tmp_path)[-1]["iteration"] == 7
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"iteration": 8, "training_lo')
    quietly(config)
    assert_same_end(tmp_path, uninterrupted)


def test_killed_before_the_first_checkpoint_begins_anew(text, tmp_path, uninterrupted):
    config = small_run(text, tmp_path)
    with killed_after(2):
        quietly(config)
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


@pytest.mark.parametrize(("size", "steps"), [(8, 1), (2, 4), (1, 8)])
def test_another_cut_of_the_same_global_batch_is_the_same_run(text, tmp_path, uninterrupted, size, steps):
    quietly(small_run(text, tmp_path), on_step=stop_after(4))
    quietly(small_run(text, tmp_path, batch_size=size, gradient_accumulation_steps=steps))
    assert_same_end(tmp_path, uninterrupted)


@pytest.mark.parametrize(("size", "steps"), [(8, 2), (4, 3), (1, 1)])
def test_another_global_batch_is_another_run(text, tmp_path, size, steps):
    quietly(small_run(text, tmp_path), on_step=stop_after(4))
    there = rf"batch_size times gradient_accumulation_steps \(8 there, {size * steps} now\)"
    with pytest.raises(ValueError, match=there):
        quietly(small_run(text, tmp_path, batch_size=size, gradient_accumulation_steps=steps))


@pytest.mark.parametrize("stop", [1, 4])
def test_on_another_machine_a_run_goes_on_with_that_machines_cut(text, tmp_path, monkeypatch, stop):
    config = {"dropout": 0.0}
    first = cut_into(monkeypatch, 8, "one")
    whole = quietly(small_run(text, tmp_path / "whole", **config))
    assert first == [8] * 10
    quietly(small_run(text, tmp_path / "parts", **config), on_step=stop_after(stop))
    second = cut_into(monkeypatch, 2, "another")
    run = quietly(small_run(text, tmp_path / "parts", **config))
    assert second == [2] * 4 * (10 - stop)
    assert load_training_state(find_checkpoint(tmp_path / "parts"))["cut"] == {"machine": "another", "blocks": 2}
    np.testing.assert_allclose(losses(run), losses(whole), rtol=0, atol=1e-5)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], weight, rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("now", [1, 2, 8])
def test_on_the_same_machine_a_run_keeps_its_cut_and_so_its_bits(text, tmp_path, monkeypatch, now):
    """Whatever its free memory would allow today; with dropout."""
    cut_into(monkeypatch, 4)
    quietly(small_run(text, tmp_path / "whole"))
    quietly(small_run(text, tmp_path / "parts"), on_step=stop_after(4))
    sizes = cut_into(monkeypatch, now)
    quietly(small_run(text, tmp_path / "parts"))
    assert sizes == [4] * 2 * 6
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


def test_what_is_the_machines_choice_may_change_when_a_run_resumes(text, tmp_path):
    """And the run goes on from the same weights: its next loss is about what it would have been."""
    free = {"precision": "bfloat16", "recompute": True, "compile": False, "device": "auto"}
    monitored = quietly(small_run(text, tmp_path / "whole", dropout=0.0))
    quietly(small_run(text, tmp_path / "parts", dropout=0.0), on_step=stop_after(5))
    run = quietly(small_run(text, tmp_path / "parts", dropout=0.0, **free))
    assert run.finished
    assert losses(run)[:5] == losses(monitored)[:5]
    assert losses(run)[5:] != losses(monitored)[5:] == pytest.approx(losses(run)[5:], rel=2e-2)


def test_a_run_in_float16_resumes_in_float32_and_the_other_way_round(text, tmp_path):
    """The scale of its gradients is kept only where it is needed."""
    for name, first, second in (("down", "float32", "float16"), ("up", "float16", "float32")):
        quietly(small_run(text, tmp_path / name, precision=first), on_step=stop_after(5))
        assert quietly(small_run(text, tmp_path / name, precision=second)).finished


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


def test_a_changed_text_is_noticed_whatever_the_tokenizer(tmp_path, gpt2_tokenizer, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = small_run(write_text(Path("text.txt"), 300), Path("run"), tokenizer="gpt2", vocab_size=50257)
    quietly(config, on_step=stop_after(5))
    original = Path("text.txt").read_bytes()
    other = original.replace(b"nobody", b"a girl")
    for name in ("text.txt", "other.txt"):
        Path(name).write_bytes(other)
        with pytest.raises(ValueError, match=rf"{name}.*; give another run_folder$") as refusal:
            quietly(config, data=name)
        assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match=r"text\.txt has changed"):
        load_run("run").evaluate()
    Path("text.txt").write_bytes(original)  # the same text, written later
    assert quietly(config).finished
    assert quietly(config).finished  # at once
    for name in ("text.txt", "other.txt"):
        Path("text.txt").write_bytes(other)
        with pytest.raises(ValueError, match=rf"{name}.*"):  # a finished run, too, is not that of another text
            quietly(config, data=name)


def test_a_run_knows_its_text_from_any_folder_and_wherever_it_moved(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    config = small_run(write_text(Path("text.txt"), 300), Path("run"))
    quietly(config, on_step=stop_after(5))
    expected = load_run("run").evaluate()
    (tmp_path / "b").mkdir()
    write_text(tmp_path / "b" / "text.txt", 200)  # another text of that name
    monkeypatch.chdir(tmp_path / "b")
    assert load_run("../a/run").evaluate() == expected
    with pytest.raises(ValueError, match=r"b/text\.txt' now\); give another run_folder$"):
        quietly(config, run_folder="../a/run")
    (tmp_path / "a").rename(tmp_path / "c")  # text and run together
    assert load_run("../c/run").evaluate() == expected
    (tmp_path / "c" / "text.txt").rename(tmp_path / "c" / "moved.txt")
    assert quietly(config, run_folder="../c/run", data="../c/moved.txt").finished
    assert load_run("../c/run", "latest").evaluate().tokens == expected.tokens
    (tmp_path / "c" / "moved.txt").unlink()
    monkeypatch.chdir(tmp_path / "c")
    assert quietly(config, data="moved.txt").finished  # at once: it needs no text any more


@pytest.mark.parametrize("before", ["finished", "stopped"])
def test_a_run_goes_on_for_more_iterations_on_the_longer_schedule(text, tmp_path, before, capsys):
    """Its default warm-up too; and however it is stopped from then on, it ends in the same bits."""
    short = small_run(text, tmp_path / "run", warmup_iterations=None)
    quietly(short, on_step=stop_after(6) if before == "stopped" else None)
    start = 6 if before == "stopped" else 10
    shutil.copytree(tmp_path / "run", tmp_path / "parts")
    long = short.replace(max_iterations=600)
    capsys.readouterr()
    quietly(long, on_step=stop_after(start + 7))
    rates = [learning_rate(start, config.training) for config in (long, short)]
    assert capsys.readouterr().out.splitlines()[0] == (
        f"600 iterations instead of 10: from iteration {start} on, the learning rate is that of the longer schedule, "
        f"{rates[0]:.2g} instead of {rates[1]:.2g}"
    )
    steps = [point for point in written(tmp_path / "run") if "training_loss" in point]
    assert [point["iteration"] for point in steps] == list(range(start + 7))
    expected = [learning_rate(i, (short if i < start else long).training) for i in range(start + 7)]
    assert [point["learning_rate"] for point in steps] == expected
    assert long.training.warmup == 12 > start
    quietly(long.replace(run_folder=tmp_path / "parts"), on_step=stop_after(start + 2))
    assert "instead of" in capsys.readouterr().out
    quietly(long.replace(run_folder=tmp_path / "parts"), on_step=stop_after(start + 7))
    assert "instead of" not in capsys.readouterr().out
    assert_same_end(tmp_path / "run", tmp_path / "parts")
    with pytest.raises(ValueError, match=r"max_iterations \(600 there, 10 now\)"):
        quietly(short)


def test_only_what_differs_is_named_and_the_folder_may_differ():
    config = small_run("text", "here")
    check_same_run(config, config.replace(run_folder="there"))
    with pytest.raises(ValueError) as refusal:
        check_same_run(config, config.replace(run_folder="there", seed=3, data="other", num_layers=1))
    assert str(refusal.value) == (  # whether it is the same text, its content says
        "here belongs to a run with other settings: num_layers (1 there, 2 now), seed (3 there, 0 now); give another "
        "run_folder"
    )


def test_the_machines_choices_are_free_and_nothing_else_is():
    config = small_run("text", "folder")
    changed = {
        "device": "cuda", "precision": "float16", "compile": True, "recompute": True, "batch_size": 2,
        "gradient_accumulation_steps": 4, "evaluation_interval": 3, "checkpoint_interval": 3, "patience": 2,
        "csv": True, "tensorboard": True,
    }  # fmt: skip
    assert set(changed) == set(FREE)
    check_same_run(config.replace(**changed), config)
    check_same_run(config.replace(max_iterations=11), config)
    others = {"deterministic": True, "seed": 1, "optimizer": "muon", "max_iterations": 9, "evaluation_blocks": 3}
    for name, value in others.items():
        with pytest.raises(ValueError, match=f"{name} "):
            check_same_run(config.replace(**{name: value}), config)


def test_a_cut_is_kept_on_its_machine_where_it_still_divides():
    config = small_run("text", "folder", batch_size=4, gradient_accumulation_steps=3)
    alone, here = Processes(torch.device("cpu")), Cut("here", 12)
    assert resumed_cut(Cut("here", 3), here, config, alone) == Cut("here", 3)
    assert resumed_cut(Cut("there", 3), here, config, alone) == here
    assert resumed_cut(None, here, config, alone) == Cut("here", 4)  # written before cuts were: batch_size
    for blocks in (0, -3, 5, 24, "3"):  # whoever wrote that
        assert resumed_cut(Cut("here", blocks), here, config, alone) == here
    three = Processes(torch.device("cpu"), 0, 3)
    assert resumed_cut(None, Cut("here", 2), config, three) == Cut("here", 4)
    six = Processes(torch.device("cpu"), 0, 6)  # whose shares are smaller than batch_size
    assert resumed_cut(None, Cut("here", 2), config, six) == Cut("here", 2)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_whether_adamw_is_fused_is_the_devices_choice(tmp_path, tiny_config, tokenizer, name):
    """A run that was saved on a GPU resumes on a CPU, and the other way round."""
    config = small_run("text", tmp_path, optimizer=name)

    def built(fused: bool) -> tuple[GPT, torch.optim.Optimizer]:
        model = GPT(tiny_config)
        optimizer = make_optimizer(model, config.training)
        adamw = optimizer if name == "adamw" else optimizer.parts["adamw"]
        for group in adamw.param_groups:
            group["fused"] = fused
        return model, optimizer

    model, optimizer = built(fused=True)
    ids = torch.randint(97, (2, 8))
    model(ids, ids).backward()
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "scaler": {}}
    checkpoint = read_checkpoint(save_checkpoint(1, None, config, model, tokenizer, state))
    for fused in (False, True):
        other, restored = built(fused)
        restore(checkpoint, other, restored, torch.amp.GradScaler("cpu", enabled=False))
        assert {group["fused"] for group in restored.param_groups if "fused" in group} == {fused}
        other(ids, ids).backward()
        restored.step()


def test_restoring_brings_back_weights_optimizer_and_scaler(tmp_path, tiny_config, tokenizer):
    model, optimizer = model_and_optimizer(tiny_config)
    state = {"optimizer": optimizer.state_dict(), "scaler": torch.amp.GradScaler("cpu", init_scale=32.0).state_dict()}
    checkpoint = read_checkpoint(save_checkpoint(1, None, small_run("text", tmp_path), model, tokenizer, state))
    other = GPT(tiny_config)
    restored, scaler = torch.optim.AdamW(other.parameters(), lr=0.5), torch.amp.GradScaler("cpu")
    assert restore(checkpoint, other, restored, scaler) is None  # it does not say how its steps were cut
    assert equal(dict(other.state_dict()), dict(model.state_dict()))
    assert equal(restored.state_dict(), optimizer.state_dict())
    assert scaler.get_scale() == 32.0
    with pytest.raises(ValueError, match=r"training_state\.pt is from a run with other settings"):
        restore(checkpoint, other, torch.optim.AdamW([other.final_norm.weight]), scaler)


def test_restoring_says_how_the_steps_were_cut(tmp_path, tiny_config, tokenizer):
    model, optimizer = model_and_optimizer(tiny_config)

    def restored(cut: object) -> Cut | None:
        state = {"optimizer": optimizer.state_dict(), "scaler": {}, "cut": cut}
        checkpoint = read_checkpoint(save_checkpoint(1, None, small_run("text", tmp_path), model, tokenizer, state))
        return restore(checkpoint, model, optimizer, torch.amp.GradScaler("cpu", enabled=False))

    cut = {"machine": "here", "blocks": 3}
    assert restored(cut) == Cut("here", 3)
    for bad in ({"machine": "here"}, cut | {"more": 1}, [1], "here"):
        with pytest.raises(ValueError, match=r"training_state\.pt is from a run with other settings"):
            restored(bad)


@pytest.mark.parametrize("name", ["classic", "muon"])
def test_a_run_stopped_by_the_code_before_the_rooms_loads_and_ends_as_that_code_ended_it(name, tmp_path, monkeypatch):
    """Two run folders, stopped at iteration 10 of 20, and the weights that the old code itself ended with.

    Here the classic run ends with the very same bits (torch 2.13 on a CPU, one thread). Muon has since come to multiply
    its matrices in stacks, which adds up in another order, as other torch versions and processors do: the last digits
    may differ.
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

    sizes = cut_into(monkeypatch, 4, "cpu, 1 processes")
    run = train(stopped.config, progress=False)
    assert sizes == [2] * 2 * 10  # batch_size was a forward pass then, and still is for this run
    assert (run.iteration, run.finished) == (20, True)
    assert run.history[: len(before)] == before
    assert [point["iteration"] for point in run.history if "training_loss" in point] == list(range(20))
    assert [point["iteration"] for point in run.history if "validation_loss" in point] == [0, 5, 10, 15, 20]
    expected = load_file(BEFORE_ROOMS / f"{name}-end.safetensors")
    assert run.model.state_dict().keys() == expected.keys()
    for tensor, weight in run.model.state_dict().items():
        torch.testing.assert_close(weight, expected[tensor], rtol=0, atol=1e-6, msg=tensor)
