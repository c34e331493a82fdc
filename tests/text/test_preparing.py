"""A user's own text from the command line: any name, any tokenizer, and who watches."""

import json
import os
import shlex
from pathlib import Path

import pytest
import torch
from local_texts import SENTENCE
from small_runs import losses, quietly, small_run, stop_after, write_text
from token_splits import documents_of

from tinyllm import load_run, train
from tinyllm.__main__ import main
from tinyllm.config import DataConfig
from tinyllm.text.holdout import HELD_OUT
from tinyllm.text.prepared import prepare
from tinyllm.training.monitoring import make_monitor

pytestmark = pytest.mark.usefixtures("home")
SMALL = (
    "--vocab-size 300 --context-length 16 --embedding-dim 16 --num-layers 1 --num-heads 2 --feedforward-dim 32 "
    "--batch-size 2 --gradient-accumulation-steps 1 --max-iterations 2 --evaluation-blocks 2 --device cpu"
).split()
NAMES = ["caf\udce9.txt", "日" * 80 + ".txt", "a: b\nc.txt", "..", "notes.", " two words $HOME 'x'.txt", "-[dash]*.txt"]


def put(folder: Path, name: str, text: str) -> str:
    """A file of this name, or the folder's own if it is no name."""
    path = folder / name / "text.txt" if name == ".." else folder / name
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        pytest.skip("this file system has no such names")
    return str(path.parent if name == ".." else path)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_is_trained_on_to_the_end_then_evaluated_and_sampled(name, tmp_path, capsys, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    data = put(tmp_path / "in", name, SENTENCE * 100)
    folder = f"~/my runs/{name.strip('.')}"
    assert main(["train", "laptop", "--tokenizer", "bpe", "--data", data, "--run-folder", folder, *SMALL]) == 0
    printed = capsys.readouterr()
    assert "training on " in printed.out
    evaluate, sample = printed.out.splitlines()[-2:]
    assert evaluate.startswith("next: ") and " -m tinyllm evaluate " in evaluate
    assert sample.startswith("  or: ") and " -m tinyllm sample " in sample
    if "$'" not in evaluate:  # which bash reads, but not shlex
        folder = shlex.split(evaluate)[-1]
        assert shlex.split(sample)[-1] == folder
    assert main(["evaluate", folder]) == 0
    assert main(["sample", folder, "--prompt", "A cat", "--maximum-length", "3"]) == 0
    assert main(["evaluate", folder, "--data", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["tokens"] > 0
    run = load_run(folder)
    assert run.config.dataset.data == os.path.normpath(data)
    assert run.folder == tmp_path / "my runs" / name.strip(".")
    prepared = run.data.folder.name
    assert prepared.isascii()
    assert all(letter.isalnum() or letter in "._-" for letter in prepared)
    assert len(prepared) < 80


def test_a_users_own_validation_file_watches_and_nothing_is_held_out(tmp_path, capsys):
    (tmp_path / "train.txt").write_text("a cat sings and runs home .\n" * 300)
    (tmp_path / "valid.txt").write_text("nobody saw the dog .\n" * 30)
    config = small_run(tmp_path, tmp_path / "run", max_iterations=2)
    data = prepare(config.dataset, 300, progress=False)
    assert data.splits.keys() == {"train", "validation"}
    assert data.watching == "validation"
    assert data.splits["train"].words == 8 * 300
    monitor = make_monitor(config, data, torch.float32)
    watched = data.tokenizer.decode(monitor.ids.flatten().tolist())
    assert set(watched.split()) & {"dog", "cat"} == {"dog"}
    assert main(["train", "laptop", "--tokenizer", "bpe", "--data", str(tmp_path), "--run-folder",
                 str(tmp_path / "run"), *SMALL]) == 0  # fmt: skip
    said = next(line for line in capsys.readouterr().out.splitlines() if "watched by" in line)
    train, validation = (len(data.splits[split].tokens) for split in ("train", "validation"))
    assert f"training on {train:,} tokens" in said
    assert f"watched by {validation:,} tokens" in said
    assert said.endswith("from its own validation split")
    assert load_run(tmp_path / "run").evaluate().words == 6 * 30


def test_what_is_held_out_is_said_before_the_run_begins(tmp_path, capsys):
    config = small_run(write_text(tmp_path / "words.txt", 400), tmp_path / "run", max_iterations=1)
    data = prepare(config.dataset, 300, progress=False)
    assert data.watching == HELD_OUT
    train(config)
    said = "\n".join(capsys.readouterr().out.splitlines()[:2])
    assert said == data.summary()
    for split in ("train", HELD_OUT):
        assert f"{len(data.splits[split].tokens):,} tokens in {len(data.splits[split].starts):,} document" in said
    assert "held out of the same text" in said
    quietly(config.replace(run_folder=tmp_path / "quiet"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("tokenizer", ["character", "word"])
def test_the_two_simple_tokenizers_can_be_trained_with(tokenizer, tmp_path, capsys):
    path = tmp_path / "words.txt"
    text = write_text(path, 400).read_text() + "Zoë closes it .\n"  # new letters and words, and they are held out
    path.write_text(text, encoding="utf-8")
    config = small_run(path, tmp_path / "run", tokenizer=tokenizer, max_iterations=6, checkpoint_interval=2)
    whole = quietly(config.replace(run_folder=tmp_path / "whole"))
    assert not quietly(config, on_step=stop_after(3)).finished
    assert losses(quietly(config)) == losses(whole)
    run = load_run(tmp_path / "run")
    data = run.data
    held_out = data.tokenizer.decode(data.splits[HELD_OUT].tokens[1:])
    if tokenizer == "character":
        assert run.tokenizer.vocab_size == len(set(text)) + 1
        assert held_out == text[-len(held_out) :]
        assert "Zoë" in held_out
    else:
        training = " ".join(data.tokenizer.decode(ids[1:]) for ids in documents_of(data.splits["train"]))
        assert set(run.tokenizer.words) == set(data.tokenizer.split(training))
        assert "<unk> <unk> <unk> .\n" in held_out
    assert run.model.config.vocab_size == run.tokenizer.vocab_size
    assert run.evaluate().nats_per_token > 0
    assert run.diagnose()
    capsys.readouterr()
    assert main(["sample", str(run.folder), "--prompt", "a cat", "--maximum-length", "4"]) == 0
    assert capsys.readouterr().out.startswith("a cat")
    if tokenizer == "character":
        assert main(["sample", str(run.folder), "--prompt", "日"]) == 1
        assert "the character '日' was not in this tokenizer's training text" in capsys.readouterr().err


def test_words_are_as_many_as_asked_for_and_characters_as_many_as_there_are(tmp_path):
    path = write_text(tmp_path / "words.txt", 100)
    sizes = {
        (kind, size): prepare(DataConfig(data=str(path), tokenizer=kind), size, progress=False).tokenizer.vocab_size
        for kind in ("word", "character")
        for size in (8, 9)
    }
    assert sizes["word", 8] == 8
    assert sizes["word", 9] == 9
    assert sizes["character", 8] == sizes["character", 9] == len(set(path.read_text())) + 1


@pytest.mark.parametrize("tokenizer", ["character", "word"])
def test_tinywiki_can_be_read_by_character_or_word(tokenizer, tmp_path, few_articles):
    few_articles(40)
    run = quietly(small_run("tinywiki", tmp_path, tokenizer=tokenizer, max_iterations=1))
    assert run.evaluate().tokens > 0
    assert run.diagnose()
    assert main(["quickstart", "--tokenizer", tokenizer, "--run-folder", str(tmp_path / "quick")]) == 1


def test_a_cut_document_is_as_if_each_part_had_been_encoded_alone(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"{name} " + SENTENCE * 200)
    whole = ["one " + SENTENCE * 200, "two " + SENTENCE * 200]
    for tokenizer in ("gpt2", "bpe", "character"):
        data = prepare(DataConfig(data=str(tmp_path), tokenizer=tokenizer), 300, progress=False)
        train, [end] = documents_of(data.splits["train"]), documents_of(data.splits[HELD_OUT])
        texts = [data.tokenizer.decode(ids[1:]) for ids in train]
        cut = next(index for index in range(2) if texts[index] != whole[index])
        assert texts[cut] + data.tokenizer.decode(end[1:]) == whole[cut]
        assert texts[1 - cut] == whole[1 - cut]
        for ids in [*train, end]:
            assert ids[1:] == data.tokenizer.encode(data.tokenizer.decode(ids[1:]))
        assert data.splits["train"].size + data.splits[HELD_OUT].size == sum(map(len, whole))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_all_that_is_prepared_stays_in_its_folder(tmp_path, home):
    for name in ("..", "x/../../y"):
        folder = tmp_path / "some" / "where"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "some" / "x").mkdir(exist_ok=True)
        (tmp_path / "some" / "text.txt").write_text(SENTENCE * 20)
        (tmp_path / "y").mkdir(exist_ok=True)
        (tmp_path / "y" / "text.txt").write_text(SENTENCE * 20)
        base = folder if name == ".." else tmp_path / "some"
        data = prepare(DataConfig(data=str(base / name), tokenizer="bpe"), 300, progress=False)
        assert data.folder.parent == home / "prepared"
