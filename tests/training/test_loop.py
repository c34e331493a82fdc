"""The loop: against one written by hand, at its full size, and when something in it fails."""

import gc
import math
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import (
    assert_same_end,
    cut_into,
    equal,
    killed_after,
    losses,
    quietly,
    small_run,
    stop_after,
    write_text,
)  # fmt: skip

import tinyllm
from tinyllm import (
    GPT,
    GenerationConfig,
    ModelConfig,
    SubWordTokenizer,
    generate_text,
    load_model,
    load_run,
    train,
)
from tinyllm.model.gpt import TransformerBlock
from tinyllm.text.batches import Blocks
from tinyllm.text.prepared import prepare
from tinyllm.training import loop, micro_batches, monitoring
from tinyllm.training.checkpoint import find_checkpoint, load_training_state

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


def test_accumulation_of_n_equals_one_n_times_larger_batch(text, tmp_path, monkeypatch):
    """The same global batch, however it is cut, gives the same losses and weights."""
    runs = []
    for blocks in (8, 2, 1):
        with monkeypatch.context() as patches:
            sizes = cut_into(patches, blocks)
            runs.append(quietly(small_run(text, tmp_path / str(blocks), dropout=0.0)))
        assert sizes == [blocks] * (8 // blocks) * 10
    assert losses(runs[0]) != losses(runs[1])  # they add up in another order
    for run in runs[1:]:
        np.testing.assert_allclose(losses(run), losses(runs[0]), rtol=0, atol=1e-5)
        for name, weight in runs[0].model.state_dict().items():
            torch.testing.assert_close(run.model.state_dict()[name], weight, rtol=0, atol=1e-4, msg=name)


def test_only_the_product_of_batch_size_and_accumulation_matters(text, tmp_path, uninterrupted):
    for size, steps in ((8, 1), (2, 4), (1, 8)):
        quietly(small_run(text, tmp_path / str(size), batch_size=size, gradient_accumulation_steps=steps))
        assert_same_end(tmp_path / str(size), uninterrupted)


def test_by_default_a_step_is_the_largest_pass_that_memory_has_room_for(text, tmp_path, monkeypatch):
    config = small_run(text, tmp_path, max_iterations=2)
    sizes = cut_into(monkeypatch, 8)
    monkeypatch.setattr(loop, "largest_cut", micro_batches.largest_cut)
    room = 4 * micro_batches.memory_bytes(config, "cpu", 4, 4) + 4  # of which a quarter may be used
    monkeypatch.setattr(micro_batches, "total_memory", lambda device: room)
    quietly(config)
    assert sizes == [4] * 4


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_computing_layers_again_changes_no_bit_of_a_run(text, tmp_path, monkeypatch, optimizer):
    calls, forward = [], TransformerBlock.forward
    monkeypatch.setattr(
        TransformerBlock, "forward", lambda self, *of: calls.append(self.training) or forward(self, *of)
    )
    counts = []
    for name, recompute in (("kept", False), ("again", True)):
        quietly(small_run(text, tmp_path / name, max_iterations=5, optimizer=optimizer, recompute=recompute))
        counts.append(sum(calls))
        calls.clear()
    assert counts == [5 * 2, 5 * 2 * 2]
    assert_same_end(tmp_path / "kept", tmp_path / "again")


def test_asking_for_determinism_changes_nothing_on_a_cpu(text, tmp_path, uninterrupted):
    quietly(small_run(text, tmp_path, deterministic=True))
    assert_same_end(tmp_path, uninterrupted)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_seed_decides_the_run_and_nothing_else_does(text, tmp_path):
    torch.manual_seed(1)
    one = quietly(small_run(text, tmp_path / "one", max_iterations=3))
    torch.manual_seed(2)
    same = quietly(small_run(text, tmp_path / "same", max_iterations=3))
    other = quietly(small_run(text, tmp_path / "other", max_iterations=3, seed=1))
    assert losses(one) == losses(same)
    assert losses(one) != losses(other)


def test_bar_shows_loss_speed_and_time_left(text, tmp_path, capsys):
    train(small_run(text, tmp_path))
    errors = capsys.readouterr().err
    assert all(word in errors for word in ("loss ", "tokens/s", "10/10", "<")), errors
    quietly(small_run(text, tmp_path / "quiet"))
    assert capsys.readouterr().err == ""


def test_a_checkpoint_is_also_due_by_the_clock(text, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with killed_after(5):
        quietly(small_run(text, tmp_path))
    assert find_checkpoint(tmp_path).iteration == 5


# --- What can go wrong ---


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
    monkeypatch.setattr(monitoring, "mean_loss", lambda *_: next(measured))
    with pytest.raises(RuntimeError, match=r"iteration 8 is nan.*step-000004"):
        quietly(small_run(text, tmp_path, checkpoint_interval=4))
    assert find_checkpoint(tmp_path).iteration == 4


def test_diverging_for_real_stops_the_run(text, tmp_path):
    config = small_run(text, tmp_path, max_learning_rate=1e30, warmup_iterations=0, max_iterations=50)
    with pytest.raises(RuntimeError, match=r"loss of iteration \d+ is .*no checkpoint yet"):
        quietly(config)


def test_a_checkpoint_that_cannot_be_saved_does_not_stop_the_training(text, tmp_path, monkeypatch, capsys):
    config = small_run(text, tmp_path, checkpoint_interval=2)
    save, attempts = loop.save_checkpoint, []

    def disk_full_for_a_while(iteration, *rest):
        attempts.append(iteration)
        if iteration in (4, 6):
            raise OSError(28, "No space left on device")
        return save(iteration, *rest)

    monkeypatch.setattr(loop, "save_checkpoint", disk_full_for_a_while)
    run = quietly(config)
    lines = [line for line in capsys.readouterr().out.splitlines() if "could not be saved" in line]
    assert len(lines) == 2
    assert all("No space left" in line and "step-000002" in line and "goes on" in line for line in lines)
    assert attempts == [2, 4, 6, 8, 10]
    assert run.finished


def _memory_for(monkeypatch, blocks: int, from_step: int = 0) -> list[int]:
    """Larger passes run out of memory in their backward pass, when some gradients are there. Says what was tried."""
    accumulate, tried = loop.accumulate_gradients, []

    def accumulate_gradients(model, batches, *rest):
        tried.append(len(batches[0][0]))
        loss = accumulate(model, batches, *rest)
        if tried[-1] > blocks and len(tried) > from_step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore lines")
        return loss

    monkeypatch.setattr(loop, "accumulate_gradients", accumulate_gradients)
    return tried


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(("blocks", "tried"), [(4, [8, 4]), (1, [8, 4, 2, 1])])
def test_out_of_memory_goes_on_in_smaller_passes_as_if_they_had_been_chosen(
    text, tmp_path, monkeypatch, blocks, tried, dropout
):
    """Bit for bit, with dropout too: each attempt begins with the same random state and without gradients."""
    with monkeypatch.context() as patches:
        cut_into(patches, blocks)
        quietly(small_run(text, tmp_path / "chosen", dropout=dropout))
    with monkeypatch.context() as patches:
        cut_into(patches, 8)
        found = _memory_for(patches, blocks)
        quietly(small_run(text, tmp_path / "found", dropout=dropout))
    assert found == [*tried, *[blocks] * 9]  # and it is remembered
    assert_same_end(tmp_path / "chosen", tmp_path / "found")
    assert load_training_state(find_checkpoint(tmp_path / "found"))["cut"] == {"machine": "here", "blocks": blocks}


def test_memory_that_runs_out_in_the_middle_of_a_run_loses_no_step(text, tmp_path, monkeypatch):
    cut_into(monkeypatch, 8)
    whole = quietly(small_run(text, tmp_path / "whole", dropout=0.0))
    tried = _memory_for(monkeypatch, 2, from_step=6)
    run = quietly(small_run(text, tmp_path / "run", dropout=0.0))
    assert tried == [8] * 7 + [4] + [2] * 4
    assert [point["iteration"] for point in run.history if "training_loss" in point] == list(range(10))
    np.testing.assert_allclose(losses(run), losses(whole), rtol=0, atol=1e-5)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], weight, rtol=0, atol=1e-4, msg=name)


def test_what_a_failed_pass_had_in_memory_is_freed_before_the_next(text, tmp_path, monkeypatch):
    """A compiled model's graph of gradients holds itself in a circle, so only Python's collector frees it."""
    accumulate, held, alive = loop.accumulate_gradients, [], []

    class Circle:
        def __init__(self):
            self.itself = self

    def accumulate_gradients(*of):
        held.append(weakref.ref(Circle()))
        if len(held) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return accumulate(*of)

    monkeypatch.setattr(loop, "accumulate_gradients", accumulate_gradients)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.extend(circle() for circle in held))
    cut_into(monkeypatch, 8)
    gc.disable()
    try:
        quietly(small_run(text, tmp_path, max_iterations=1))
    finally:
        gc.enable()
    assert alive == [None]


def test_a_smaller_pass_is_wrapped_anew(text, tmp_path, monkeypatch):
    """CUDA graphs are for a step of one pass: the next pass would overwrite the gradients of the last."""
    wrap, cuts = loop.wrap, []
    monkeypatch.setattr(loop, "wrap", lambda *of: cuts.append(of[-1].blocks) or wrap(*of))
    cut_into(monkeypatch, 8)
    _memory_for(monkeypatch, 4)
    quietly(small_run(text, tmp_path, max_iterations=2))
    assert cuts == [8, 4]


@pytest.mark.parametrize(("size", "steps"), [(4, 2), (9, 1), (7, 3), (1, 5)])
def test_without_memory_for_a_single_block_the_error_says_what_to_change(text, tmp_path, monkeypatch, size, steps):
    tried = _memory_for(monkeypatch, 0)
    with pytest.raises(RuntimeError) as failure:
        quietly(small_run(text, tmp_path, batch_size=size, gradient_accumulation_steps=steps))
    message = str(failure.value)
    assert "\n" not in message
    assert "out of GPU memory" in message
    assert "recompute=True" in message
    assert "context_length" in message
    assert tried == micro_batches.divisors(size * steps)


@pytest.mark.parametrize(("where", "what"), [(loop, "apply_gradients"), (loop.Trainer, "measure")])
def test_without_memory_outside_of_the_passes_one_line_says_what_to_do(text, tmp_path, monkeypatch, where, what):
    def too_much(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20.00 MiB.")

    monkeypatch.setattr(where, what, too_much)
    with pytest.raises(RuntimeError, match=r"^out of GPU memory outside of the training passes: use a smaller .*$"):
        quietly(small_run(text, tmp_path))
    monkeypatch.undo()
    assert quietly(small_run(text, tmp_path)).finished


@pytest.mark.parametrize("stop", [None, 5])
def test_a_run_whose_last_save_fails_ends_in_an_error(text, tmp_path, monkeypatch, uninterrupted, stop):
    config = small_run(text, tmp_path, checkpoint_interval=3)
    save = loop.save_checkpoint

    def disk_full(iteration, *rest):
        if iteration > 3:
            raise OSError(28, "No space left on device")
        return save(iteration, *rest)

    monkeypatch.setattr(loop, "save_checkpoint", disk_full)
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
