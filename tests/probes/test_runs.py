"""A run of this package under the probes."""

import dataclasses

import numpy as np
import pytest
import torch
from small_runs import small_run, write_text

from tinyllm import train
from tinyllm.probes.runs import subject_of_run
from tinyllm.probes.subject import diagnose
from tinyllm.text import tinywiki
from tinyllm.text.batches import Blocks


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    text = write_text(folder / "words.txt", 4000)
    return train(small_run(text, folder / "run", dropout=0.1, max_learning_rate=1e-2), progress=False)


def test_a_run_of_any_text_is_diagnosed_and_not_changed(run):
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    state = torch.get_rng_state()
    found = run.diagnose()
    assert found.problems == []
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    lines = str(found).splitlines()
    assert repr(found) == str(found)  # what Jupyter shows
    assert len([line for line in lines if not line.startswith(" ")]) == len(found.findings) + 1
    assert lines[-1] == "No probe found a problem."
    assert [finding.probe for finding in found.findings if finding.ok is None] == ["floor"]


def test_a_run_on_tinywiki_knows_its_floor(tmp_path, monkeypatch):
    monkeypatch.setattr(tinywiki, "SPLITS", {"train": 120, "validation": 5, "test": 7})
    tinywiki.articles.cache_clear()
    try:
        found = train(small_run("tinywiki", tmp_path / "run", context_length=64), progress=False)
        report, measured = found.diagnose(), found.evaluate()
    finally:
        tinywiki.articles.cache_clear()
    assert report.problems == []
    told = next(finding for finding in report.findings if finding.probe == "floor")
    assert told.ok
    assert f"is {measured.nats_per_token:.3f}; the lowest possible on that text is {measured.floor:.3f}." in told.found


def test_a_subject_takes_the_runs_own_pieces(run):
    subject = subject_of_run(run.config, run.model, run.data, run.history, floor=None)
    assert subject.model is not run.model
    assert subject.first_loss == run.history[1]["training_loss"]  # the first entry is a measurement
    micro_batches = [*subject.batch(0), *subject.batch(1)]  # two each, of two blocks
    ids, targets = Blocks(run.data.splits["train"], 16, run.config.training.seed).batch(0, 8)
    np.testing.assert_array_equal(np.concatenate([one for one, _ in micro_batches]), ids)
    np.testing.assert_array_equal(np.concatenate([two for _, two in micro_batches]), targets)
    (one, _), (two, _) = subject.build(), subject.build()
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    first, _ = subject.batch(0)[0]
    torch.testing.assert_close(subject.stepwise(run.model, first), run.model(first), atol=1e-5, rtol=1e-4)


def test_a_problem_is_told_in_one_line_with_what_to_do(run):
    subject = subject_of_run(run.config, run.model, run.data, run.history, floor=None)
    broken = dataclasses.replace(subject, texts=(subject.texts[0], subject.texts[0][:500]))
    found = diagnose(broken)
    assert found.problems == ["leak"]
    line = str(found.findings[-1])
    assert line.startswith("PROBLEM  leak: 64 of 64 pieces of the held-out text occur in the training text.")
    assert line.endswith("remove duplicates before you split.")
    assert str(found).endswith("1 of 14 probes found one.")


MODERN = {
    "norm": "rmsnorm", "positions": "rotary", "qk_norm": True, "bias": False, "zero_init": True, "logit_softcap": 30.0,
    "num_kv_heads": 1, "optimizer": "muon", "schedule": "warmup_stable_decay", "decay_fraction": 0.5,
    "min_learning_rate": 0.0, "max_learning_rate": 1e-2,
}  # fmt: skip


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"max_iterations": 1},
        {"precision": "bfloat16", "dropout": 0.1},
        {"dropout": 0.5, "activation": "swiglu", "gradient_accumulation_steps": 3},
        {"optimizer": "adamw", "activation": "relu_squared", "max_learning_rate": 1e-3},
    ],
    ids=lambda choices: ", ".join(choices) or "all",
)
def test_a_healthy_modern_run_is_left_alone(tmp_path, choices):
    text = write_text(tmp_path / "words.txt", 4000)
    found = train(small_run(text, tmp_path / "run", **(MODERN | choices)), progress=False).diagnose()
    assert found.problems == [], found
