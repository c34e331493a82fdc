"""README's commands for a reader's own text, run as they are written, on small files and with small models."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tinyllm import load_run
from tinyllm.__main__ import main

README = Path(__file__).parent.parent / "README.md"
TINY = (
    "--vocab-size 300 --context-length 32 --embedding-dim 32 --num-layers 1 --num-heads 2 --feedforward-dim 64 "
    "--batch-size 4 --gradient-accumulation-steps 1"
).split()
SHORT = "--max-iterations 20 --evaluation-interval 10 --evaluation-blocks 2".split()
SENTENCE = "Once upon a time a small fox number {} went out to look for the sea . "


def commands() -> list[list[str]]:
    section = (
        README.read_text(encoding="utf-8").partition("## Your own text")[2].partition("```\n")[2].partition("```")[0]
    )
    return [shlex.split(line.removeprefix("python -m tinyllm ")) for line in section.splitlines()]


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """A reader's folder: every file that the commands name."""
    monkeypatch.chdir(tmp_path)
    text = "".join(map(SENTENCE.format, range(400)))
    for name in ("my.txt", "other.txt", "notes/one.md", "notes/more/two.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    with Path("reviews.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["stars", "review"])
        rows.writerows([5, SENTENCE.format(index)] for index in range(300))
    talk = [{"role": "user", "content": "who goes out ?"}, {"role": "assistant", "content": "a small fox ."}]
    Path("talk.jsonl").write_text((json.dumps({"messages": talk}) + "\n") * 200)
    return tmp_path


def test_the_commands_for_ones_own_text_do_what_they_say(texts, capsys):
    printed = {}
    for command in commands():
        fit = [*SHORT, *(() if "--init-from" in command else TINY)] if command[0] == "train" else []
        assert main([*command, *fit]) == 0, command
        printed[" ".join(command[:4])] = capsys.readouterr().out
    assert len(printed) >= 5
    assert "watched by" in printed["train laptop --data my.txt"]
    assert "2 files read" in printed["train laptop --data notes"]
    assert len(load_run("models/reviews").data.splits["train"].starts) > 250  # each row is a document
    assert load_run("models/notes").config.training.init_from
    assert load_run("models/talk").model.config.lora == 8 and load_run("models/talk").answers
    samples = printed["sample models/laptop --prompt Once upon a time"]
    assert [int(number) for number in re.findall(r"=== (\d) of 4 ===", samples)] == [1, 2, 3, 4]
    assert "perplexity per word" in printed["evaluate models/laptop --data other.txt"]
    model, tokenizer = AutoModelForCausalLM.from_pretrained("my-model"), AutoTokenizer.from_pretrained("my-model")
    assert model.num_parameters() == sum(weight.numel() for weight in load_run("models/laptop").model.parameters())
    assert tokenizer.decode(tokenizer.encode("a small fox", add_special_tokens=False)) == "a small fox"
