"""`grade`: a learner's notebook goes in, a verdict for each exercise comes out, and nothing else changes."""

import json

import nbformat
import psutil
import pytest

from tinyllm.__main__ import main
from tinyllm.course.checking import records
from tinyllm.course.checking.grading import grade

SOLVED = """
def causal_mask(length):
    return torch.ones(length, length, dtype=torch.bool).tril()

check("attention.causal_mask", causal_mask)
"""
UPSIDE_DOWN = SOLVED.replace("tril", "triu")
STUB = """
def split_heads(x, num_heads):
    raise NotImplementedError

check("attention.split_heads", split_heads)
"""
BROKEN = """
def merge_heads(x)
    return x

merge_heads = check("attention.merge_heads", merge_heads)
"""
ENDS_PYTHON = """
import os

def scores(q, k):
    os._exit(3)

scores = check("attention.scores", scores)
"""
ENDLESS = """
while True:
    try:
        attention_weights = None
    except BaseException:
        pass
attention_weights = check("attention.attention_weights", attention_weights)
"""
GOES_ON = """
import math

assert torch.equal(scores(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4)), torch.full((1, 1, 1, 1), 2.0))
assert merge_heads(torch.ones(1, 2, 1, 4)).shape == (1, 1, 8) and attention_weights
causal_mask = check("attention.causal_mask", causal_mask)
"""
SKIPPED = "raise SystemExit('the full run on a GPU')"


def notebook(path, *cells):
    content = nbformat.v4.new_notebook()
    imports = "import torch\nfrom tinyllm.course import check"
    content.cells = [nbformat.v4.new_code_cell(source) for source in (imports, *cells)]
    content.cells.append(nbformat.v4.new_code_cell(SKIPPED, metadata={"tags": ["nbval-skip"]}))
    nbformat.write(content, path)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "home"))


@pytest.fixture
def answers(tmp_path):
    return notebook(tmp_path / "answers.ipynb", UPSIDE_DOWN, "1 / 0", STUB, SOLVED.replace("causal_mask", "scores"))


def test_each_exercise_of_the_notebook_gets_its_verdict(answers, home):
    before = answers.read_bytes()
    result = grade(answers)
    verdicts = result["exercises"]
    assert list(verdicts) == ["attention.causal_mask", "attention.split_heads", "attention.scores"]
    assert verdicts["attention.causal_mask"]["verdict"] == "wrong"
    assert "upside down" in verdicts["attention.causal_mask"]["diagnosis"]
    assert verdicts["attention.split_heads"] == {"verdict": "not attempted", "diagnosis": ""}
    assert verdicts["attention.scores"]["verdict"] == "raised"
    assert result["solved"] == 0
    assert answers.read_bytes() == before
    assert records.recorded() == {}  # the teacher's own progress


def test_the_last_answer_counts(tmp_path, home):
    result = grade(notebook(tmp_path / "twice.ipynb", UPSIDE_DOWN, SOLVED))
    assert result["exercises"] == {"attention.causal_mask": {"verdict": "correct", "diagnosis": ""}}
    assert result["solved"] == 1


def test_a_cell_that_ends_python_or_does_not_end_costs_its_own_exercises_only(tmp_path, home, capsys):
    path = notebook(tmp_path / "wild.ipynb", SOLVED, BROKEN, ENDS_PYTHON, ENDLESS, STUB, GOES_ON)
    content = nbformat.read(path, as_version=4)
    content.metadata.kernelspec = {"name": "my-own-kernel", "display_name": "My own", "language": "python"}
    nbformat.write(content, path)
    before = psutil.Process().children()
    assert main(["grade", str(path), "--json", "--cell-seconds", "4"]) == 0
    assert [child for child in psutil.Process().children() if child not in before] == []  # no cell runs on
    found = json.loads(capsys.readouterr().out)
    assert {name.partition(".")[2]: one["verdict"] for name, one in found["exercises"].items()} == {
        "causal_mask": "correct",
        "merge_heads": "error",
        "scores": "crashed",
        "attention_weights": "timed out",
        "split_heads": "not attempted",
    }
    diagnoses = [one["diagnosis"] for one in found["exercises"].values()]
    assert diagnoses[1].startswith("the cell raised SyntaxError")
    assert diagnoses[2:4] == ["the cell ended Python.", "the cell did not end within 4 seconds."]
    assert found["solved"] == 1


def test_the_command_prints_verdicts_or_json(answers, home, capsys):
    assert main(["grade", str(answers)]) == 0
    printed = capsys.readouterr().out
    assert "wrong          attention.causal_mask" in printed
    assert printed.endswith("0 of 3 solved\n")
    assert main(["grade", str(answers), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exercises"]["attention.split_heads"]["verdict"] == "not attempted"


def test_what_cannot_be_graded_gets_one_line(tmp_path, capsys):
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "other.ipynb").write_text('{"cells": 3}')
    (tmp_path / "binary.ipynb").write_bytes(b"\xff\xfe\x00")
    empty = notebook(tmp_path / "empty.ipynb", "1 + 1")
    for path, words in (
        (tmp_path / "missing.ipynb", "no notebook at"),
        (tmp_path / "broken.ipynb", "not a notebook"),
        (tmp_path / "other.ipynb", "not a notebook"),
        (tmp_path / "binary.ipynb", "not a notebook"),
        (tmp_path, "no notebook at"),
        (empty, "checks no exercise"),
    ):
        assert main(["grade", str(path)]) == 1
        error = capsys.readouterr().err
        assert words in error, path
        assert error.count("\n") == 1
    assert main(["grade"]) == 1
    assert "name the notebook" in capsys.readouterr().err
    assert main(["grade", str(empty), "--cell-seconds", "0"]) == 1
    assert "cell_seconds must be above 0" in capsys.readouterr().err
