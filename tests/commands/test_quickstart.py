"""The main job, run once as a user runs it, and the commands that follow it."""

import json
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tinyllm import load_run
from tinyllm.__main__ import main
from tinyllm.commands.quickstart import judge, next_command, quickstart, report_samples
from tinyllm.evaluation import evaluate_articles
from tinyllm.presets import get_preset
from tinyllm.text import tinywiki
from tinyllm.text.articles import LABELS

pytestmark = pytest.mark.timeout(1800)

KEYS = ["validation_loss", "entropy_floor", "tokens_per_second", "seconds", "parameters", "sample", "run"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> subprocess.CompletedProcess:
    """`python -m tinyllm quickstart --json` in an empty folder.

    On one thread, as all tests: two take ten minutes instead of two where other tests keep a core busy, for each waits
    for the other.
    """
    command = [sys.executable, "-m", "tinyllm", "quickstart", "--json"]
    folder = tmp_path_factory.mktemp("quickstart")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    done.folder = folder
    return done


@pytest.fixture(scope="module")
def result(finished) -> dict:
    return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def run_folder(finished, result) -> Path:
    return finished.folder / result["run"]


def test_json_is_one_object_with_the_promised_keys(finished, result):
    assert len(finished.stdout.splitlines()) == 1
    assert [key for key in KEYS if key not in result] == []
    assert result["parameters"] == sum(p.numel() for p in load_run(finished.folder / result["run"]).model.parameters())
    assert 900_000 < result["parameters"] < 1_300_000


def test_loss_ends_within_ten_per_cent_of_the_floor_and_not_below_it(result):
    excess = result["validation_loss"] - result["entropy_floor"]
    assert excess < 0.10 * result["entropy_floor"]
    assert excess > -3 * result["standard_error"]


def test_each_kind_of_token_is_learned(result):
    kinds = result["by_label"]
    assert set(kinds) == set(LABELS)
    per_token = {kind: (part["nats"] - part["floor_nats"]) / part["tokens"] for kind, part in kinds.items()}
    assert all(excess < 0.1 for excess in per_token.values()), per_token
    assert kinds["choice"]["floor_nats"] > 0
    assert sum(part["floor_nats"] for kind, part in kinds.items() if kind != "choice") == 0


def test_most_samples_parse_and_recall_their_facts(result):
    assert result["samples_that_parse"] > 0.5
    assert result["facts_unchanged"] > 0.9
    assert result["sample"].startswith(" = ")


def test_everything_is_reported_to_a_reader(finished):
    text = finished.stderr
    for word in ("tokens/s", "entropy floor", "forgetful", "grammar", "recall", "samples parse", "unchanged", "loss"):
        assert word in text, word
    assert "it/s" in text  # the progress bar


def test_its_last_line_is_a_command_that_can_be_pasted(finished):
    """Into the same shell, where perhaps no Python, or another one, is called `python`."""
    command = finished.stderr.splitlines()[-1]
    nowhere = os.environ | {"PATH": str(finished.folder)}
    done = subprocess.run(["/bin/sh", "-c", command], cwd=finished.folder, env=nowhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(" = Agatha ")


def test_the_next_command_is_quoted_as_a_shell_wants_it(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/my courses/.venv/bin/python")
    words = shlex.split(next_command(Path("the models/it's mine")))
    assert words[:4] == ["/my courses/.venv/bin/python", "-m", "tinyllm", "sample"]
    assert words[4:] == ["the models/it's mine", "--prompt", " = Agatha"]


def test_the_loss_curve_is_a_picture(run_folder):
    assert (run_folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_untrained_it_would_be_far_above_the_floor(run_folder):
    """The measure itself can fail: a fresh model of the same shape scores about ln V."""
    run = load_run(run_folder)
    torch.manual_seed(0)
    fresh = type(run.model)(run.model.config)
    result = evaluate_articles(fresh, run.tokenizer, tinywiki.articles("test")[:20])
    assert result.nats_per_token == pytest.approx(math.log(fresh.config.vocab_size), rel=0.05)


def test_repeating_the_command_returns_at_once(run_folder, capsys):
    assert main(["train", "quickstart", "--run-folder", str(run_folder)]) == 0
    assert "held-out loss" in capsys.readouterr().out


def test_evaluate_command(run_folder, result, capsys):
    assert main(["evaluate", str(run_folder), "--split", "test", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["nats_per_token"] == pytest.approx(result["validation_loss"], rel=1e-3)
    assert printed["perplexity_per_token"] == pytest.approx(math.exp(printed["nats_per_token"]))


def test_sample_command(run_folder, capsys):
    assert main(["sample", str(run_folder), "--prompt", " = Agatha", "--seed", "1", "--temperature", "0"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(" = Agatha ")
    assert " = = Life = = " in text


@pytest.mark.parametrize("exists", [True, False])
def test_a_text_of_unknown_entropy_is_for_train(exists, tmp_path):
    if exists:
        (tmp_path / "my.txt").write_text("a cat sings .\n" * 100)
    with pytest.raises(ValueError, match="train laptop --data PATH"):
        quickstart(get_preset("quickstart").replace(data=str(tmp_path / "my.txt")))


def test_samples_are_judged_by_form_and_by_the_facts_they_recall():
    texts = [article.text for article in tinywiki.articles("test")[:3]]
    parsed, unchanged, recalled = judge([*texts, "no article"])
    assert parsed == 3
    assert unchanged == recalled > 0


def test_shares_of_samples_are_zero_where_there_is_nothing_to_count(capsys):
    text = tinywiki.articles("test")[0].text
    assert report_samples([text, "no article"]) == {"samples_that_parse": 0.5, "facts_unchanged": 1.0, "sample": text}
    assert "1 of 2 samples parse" in capsys.readouterr().out
    assert report_samples(["no article"]) == {"samples_that_parse": 0.0, "facts_unchanged": 0.0, "sample": "no article"}
