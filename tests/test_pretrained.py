"""Models without a run: sampled and scored from the command line and from Python, wherever they come from."""

import json
import shutil
from pathlib import Path

import pytest
from model_hub import model_hub

from tinyllm import load_pretrained, load_run, save_model
from tinyllm.__main__ import main
from tinyllm.training.checkpoint import find_checkpoint

GREEDY = ["--prompt", "a cat", "--temperature", "0", "--maximum-length", "8", "--json"]


@pytest.fixture
def run(uninterrupted):
    return load_run(uninterrupted)


@pytest.fixture
def exported(run, tmp_path) -> Path:
    return run.export(tmp_path / "exported")


def said(capsys, *arguments: object) -> dict:
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_sample_and_evaluate_take_any_model(run, exported, text, tmp_path, monkeypatch, capsys):
    alone = tmp_path / "alone"
    alone.mkdir()
    save_model(run.model, alone / "mine.safetensors")
    run.tokenizer.save(alone / "tokenizer.json")
    expected = run.generate("a cat", temperature=0, maximum_length=8)
    nats = run.evaluate(data=str(text)).nats
    for source in (run.folder, find_checkpoint(run.folder, "best").folder, exported, alone / "mine.safetensors"):
        assert said(capsys, "sample", source, *GREEDY)["text"] == expected
        assert said(capsys, "evaluate", source, "--data", text, "--json")["nats"] == pytest.approx(nats, rel=1e-6)
    with model_hub({"someone/small": exported}, tmp_path / "cache", monkeypatch):
        assert said(capsys, "sample", "someone/small", *GREEDY)["text"] == expected
    assert "".join(load_pretrained(exported).stream("a cat", temperature=0, maximum_length=8)) == expected[5:]
    (alone / "tokenizer.json").unlink()
    assert main(["sample", str(alone / "mine.safetensors")]) == 1
    assert "has no tokenizer.json beside it" in capsys.readouterr().err


def test_without_a_run_a_text_must_be_named(exported, capsys):
    assert main(["evaluate", str(exported)]) == 1
    assert "name one with data= (--data)" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no exam split"):
        load_pretrained(exported).evaluate("exam", "tinywiki")


def test_load_run_says_what_loads_a_model_without_a_run(exported):
    with pytest.raises(ValueError, match=r"is not a run .*load_pretrained loads it"):
        load_run(exported)


def test_what_is_not_there_is_one_line(tmp_path, capsys):
    for command in ("sample", "evaluate"):
        assert main([command, str(tmp_path / "nowhere")]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert "there is no model at" in lines[0]


def test_an_unknown_device_is_refused_first(tmp_path):
    with pytest.raises(ValueError, match="device 'abacus'"):
        load_pretrained(tmp_path / "nowhere", device="abacus")
    shutil.rmtree(tmp_path)
