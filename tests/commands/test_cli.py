"""The command line: helpful where the call is right, one line where it is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import tinyllm
from tinyllm.__main__ import ALL_COMMANDS, main
from tinyllm.commands import cli
from tinyllm.evaluation import Evaluation


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # run folders are relative


def failure(capsys, *arguments: str) -> str:
    """Run a call that must fail; returns its one line."""
    assert main(list(arguments)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("tinyllm: ")
    return lines[0]


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ALL_COMMANDS)
    assert main([]) == 2


HELPED = ["quickstart", "train laptop", "evaluate", "sample", "write", "prepare laptop", "doctor"]


@pytest.mark.parametrize("command", HELPED)
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    assert "usage: python -m tinyllm" in capsys.readouterr().out


def test_help_of_a_preset_shows_its_values_and_what_they_mean(capsys):
    with pytest.raises(SystemExit):
        main(["train", "laptop", "--help"])
    text = capsys.readouterr().out
    assert "--max-learning-rate" in text
    assert "Number of optimizer steps" in text


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("trian laptop", "train"),
        ("train lapto", "laptop"),
        ("train laptop --max-iteration 5", "--max-iterations"),
        ("train laptop --max-iterations -5", "max_iterations"),
        ("train laptop --max-iterations many", "max_iterations"),
        ("train laptop --max-iterations", "--max-iterations"),
        ("train laptop --betas 0.9", "betas"),
        ("train laptop --num-heads 7", "divisor"),
        ("train laptop --activation relu", "gelu_tanh"),
        ("train laptop --data nowhere.txt", "nowhere.txt"),
        ("evaluate", "models/quickstart"),
        ("evaluate nowhere", "nowhere"),
        ("sample nowhere", "nowhere"),
        ("quickstart --data my.txt", "train laptop --data"),
    ],
)
def test_wrong_calls_get_one_line_that_helps(arguments, wanted, capsys):
    assert wanted in failure(capsys, *arguments.split())


def test_empty_text_and_text_shorter_than_a_block(tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("")
    assert "no text" in failure(capsys, "train", "laptop", "--data", str(tmp_path / "empty.txt"))
    (tmp_path / "short.txt").write_text("a few words on one line\n" * 3)
    options = ["--data", str(tmp_path / "short.txt"), "--run-folder", str(tmp_path / "run")]
    assert main(["train", "laptop", *options]) == 1
    assert "context_length" in capsys.readouterr().err


def test_estimate_command(capsys):
    assert main(["estimate", "wikitext103", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["parameters"] == 51_213_824
    assert result["seconds"] > 0
    assert result["memory_bytes"] > 16 * result["parameters"]


def test_estimate_command_says_which_card_was_measured(capsys):
    assert main(["estimate", "quickstart"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "T4" in line)
    assert line.endswith("as measured on an H200; on the others a guess")


def test_prepare_command_counts(sample_text, capsys):
    assert main(["prepare", "wikitext103", "--data", str(sample_text), "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]
    words = len(sample_text.read_text().split()) + sample_text.read_text().count("\n")
    assert sum(split["words"] for split in splits.values()) == words


def test_doctor_command_names_a_remedy_for_what_does_not_work(capsys):
    assert main(["doctor", "--json"]) == 0
    printed = capsys.readouterr()
    findings = {f["subject"]: f for f in json.loads(printed.out)["findings"]}
    assert findings["torch"]["remedy"] == ""
    assert findings["GPT-2 vocabulary"]["remedy"] == ""  # the tests bring it
    assert "TINYLLM_DATA" in findings["WikiText"]["remedy"]  # the tests have no network
    assert 8 <= len(findings) <= 12
    lines = printed.err.splitlines()
    wikitext = next(index for index, line in enumerate(lines) if line.startswith("!!  WikiText"))
    assert lines[wikitext + 1].strip() == findings["WikiText"]["remedy"]
    assert any(line.startswith("ok  torch") for line in lines)


@pytest.mark.parametrize("command", [["train", "laptop"], ["quickstart"]])
def test_a_run_that_was_stopped_ends_with_130_and_one_line(command, monkeypatch, capsys):
    stopped = SimpleNamespace(finished=False)
    monkeypatch.setattr("tinyllm.commands.cli.train", lambda config: stopped)
    monkeypatch.setattr("tinyllm.commands.quickstart.train", lambda config: stopped)
    assert main([*command, "--json"]) == 130
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1] == "stopped; the same command goes on from the last checkpoint"


@pytest.mark.parametrize("command", [["train", "laptop"], ["quickstart"]])
def test_a_finished_run_whose_history_is_lost_ends_with_one_line(command, monkeypatch, capsys):
    finished = SimpleNamespace(finished=True, iteration=2, history=[], folder=Path("mine"))
    monkeypatch.setattr("tinyllm.commands.cli.train", lambda config: finished)
    monkeypatch.setattr("tinyllm.commands.quickstart.train", lambda config: finished)
    assert main(command) == 1
    said = "tinyllm: mine is finished, but its history.jsonl is missing or damaged: evaluate scores its model\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("arguments", "interrupted", "said"),
    [
        ("train quickstart", "cli.train", "stopped; the same command goes on from the last checkpoint"),
        ("quickstart", "quickstart.train", "stopped; the same command goes on from the last checkpoint"),
        ("prepare quickstart", "cli.prepare", "stopped; nothing was prepared: the same command begins again"),
        ("evaluate run", "cli.load_trained", "stopped"),
        ("sample run --json", "cli.load_trained", "stopped"),
        ("estimate quickstart", "cli.estimate", "stopped"),
        ("doctor --json", "cli.doctor.examine", "stopped"),
    ],
)
def test_ctrl_c_says_what_is_true_of_that_command(arguments, interrupted, said, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"tinyllm.commands.{interrupted}", interrupt)
    assert main(arguments.split()) == 130
    printed = capsys.readouterr()
    assert printed.err == said + "\n"
    assert "--json" not in arguments or printed.out == ""


def test_out_of_memory_is_one_line(monkeypatch, capsys):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr("tinyllm.commands.cli.prepare", full)
    assert "batch_size" in failure(capsys, "prepare", "quickstart")


def test_version_with_main_and_with_python_m(capsys):
    assert main(["--version"]) == 0
    printed = capsys.readouterr().out
    assert printed == f"tinyllm {tinyllm.__version__}\n"
    command = [sys.executable, "-m", "tinyllm", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == printed


def test_an_evaluation_is_described_with_its_floor_where_there_is_one():
    plain = Evaluation(nats=300.0, tokens=100, words=40, bytes=200)
    assert [line.split()[-1] for line in cli.describe(plain)[1:]] == ["3.0000", "20.09", "1808.04", "2.1640"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(119, "119 seconds"), (120, "2.0 minutes"), (9000, "2.5 hours"), (2 * 86400, "2.0 days")]
)
def test_a_duration_is_told_in_the_largest_unit_that_makes_two(seconds, text):
    assert cli._duration(seconds) == text


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"The number {n} comes before the number {n + 1} .\n" for n in range(3000)))
    options = f"--data {text} --run-folder {tmp_path / 'run'} --vocab-size 300 --context-length 32 --embedding-dim 16"
    options += " --num-layers 1 --num-heads 2 --feedforward-dim 32 --max-iterations 100000 --evaluation-interval 50000"
    command = [sys.executable, "-m", "tinyllm", "train", "laptop", *options.split()]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    history = tmp_path / "run" / "history.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (history.exists() and history.read_text().count("\n") > 20):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "run").glob("step-*"))
