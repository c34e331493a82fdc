"""`train` and `load_run`, and what can be done with the run that they return."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import equal, quietly, small_run, stop_after, write_text

from tinyllm import load_run, train
from tinyllm.__main__ import main
from tinyllm.evaluation import Evaluation, FloorEvaluation
from tinyllm.text import tinywiki
from tinyllm.training import loop


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """A run on a text of twelve pieces, whose middle checkpoint is made to be the best."""
    folder = tmp_path_factory.mktemp("text-run")
    text = write_text(folder / "words.txt", 4000)
    config = small_run(text, folder / "run", evaluation_interval=2, checkpoint_interval=2, max_learning_rate=3e-2,
                       min_learning_rate=3e-2)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        measured = iter([5.0, 4.0, 3.0, 3.5, 3.6, 3.7])  # at 0, 2, 4 ... 10
        patch.setattr("tinyllm.training.monitoring.mean_loss", lambda *_: next(measured))
        return train(config, progress=False)


@pytest.fixture(scope="module")
def wiki_run(tmp_path_factory):
    """A run on a TinyWiki of few articles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tinywiki, "SPLITS", {"train": 120, "validation": 5, "test": 7})
        tinywiki.articles.cache_clear()
        config = small_run("tinywiki", tmp_path_factory.mktemp("wiki-run") / "run", context_length=64)
        yield train(config, progress=False)
    tinywiki.articles.cache_clear()


def slow_nats(model: torch.nn.Module, ids: list[int]) -> list[float]:
    """-log p of each token but the first, each from a forward pass of its own; only for texts that fit the context."""
    result = []
    with torch.no_grad():
        for end in range(1, len(ids)):
            logits = model(torch.tensor([ids[:end]]))[0, -1].double()
            result.append((logits.logsumexp(0) - logits[ids[end]]).item())
    return result


def test_best_and_latest_are_different_checkpoints(text_run):
    best, latest = load_run(text_run.folder), load_run(str(text_run.folder), "latest")
    assert (best.iteration, latest.iteration) == (4, 10)
    assert equal(dict(latest.model.state_dict()), dict(text_run.model.state_dict()))
    assert not equal(dict(best.model.state_dict()), dict(latest.model.state_dict()))
    assert best.history == latest.history == text_run.history
    assert best.tokenizer.fingerprint == text_run.tokenizer.fingerprint
    assert best.config == text_run.config
    assert (best.finished, latest.finished) == (False, True)
    assert not best.model.training


def test_load_run_of_a_moved_folder_knows_where_it_is(text_run, tmp_path):
    moved = tmp_path / "moved"
    text_run.folder.rename(moved)
    try:
        assert load_run(moved).folder == moved
    finally:
        moved.rename(text_run.folder)


def test_load_run_of_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run folder at .*nowhere"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_run(tmp_path)
    (tmp_path / "step-000001").mkdir()
    with pytest.raises(ValueError, match="none of the 1 checkpoints"):
        load_run(tmp_path)


def test_load_run_passes_over_a_damaged_best(text_run, caplog):
    path = text_run.folder / "step-000004" / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    try:
        assert load_run(text_run.folder).iteration == 8  # 3.6, before 3.7: the two newest are kept
        assert "model.safetensors" in caplog.text
    finally:
        path.write_bytes(whole)


def test_generate_continues_the_prompt(text_run):
    once = text_run.generate("a cat", maximum_length=20, seed=3)
    assert once.startswith("a cat")
    assert len(once) > len("a cat")
    assert once == text_run.generate("a cat", maximum_length=20, seed=3)
    assert len({text_run.generate("a cat", maximum_length=20, seed=seed) for seed in range(5)}) > 1
    assert isinstance(text_run.generate(maximum_length=3), str)
    with pytest.raises(TypeError):
        text_run.generate("a cat", heat=3)


def test_greedy_text_is_that_of_argmax(text_run):
    ids = text_run.tokenizer.encode("a cat")
    with torch.no_grad():
        for _ in range(6):
            ids.append(text_run.model(torch.tensor([ids]))[0, -1].argmax().item())
    expected = text_run.tokenizer.decode(ids)
    assert text_run.generate("a cat", maximum_length=6, temperature=0, stop_tokens=()) == expected


def test_stream_gives_the_same_text_in_pieces(text_run):
    settings = {"maximum_length": 30, "seed": 1, "stop_tokens": ()}
    pieces = list(text_run.stream("my aunt", **settings))
    assert len(pieces) > 5
    assert "my aunt" + "".join(pieces) == text_run.generate("my aunt", **settings)


def test_evaluate_tinywiki_beside_its_floor(wiki_run):
    for split, count in (("validation", 5), ("test", 7)):
        result = wiki_run.evaluate(split)
        articles = tinywiki.articles(split)
        assert isinstance(result, FloorEvaluation)
        assert len(articles) == count
        assert result.tokens == sum(len(wiki_run.tokenizer.encode(article.text)) + 1 for article in articles)
        assert result.floor_nats == pytest.approx(sum(article.nats for article in articles))
        assert result.nats_per_token > result.floor
    assert wiki_run.evaluate() == wiki_run.evaluate("validation")


def test_evaluate_a_single_file_scores_its_held_out_articles(text_run):
    """A file has no official splits: "validation" is what was held out, and every token of it counts once."""
    result = text_run.evaluate()
    whole = Path(text_run.config.dataset.data).read_text(encoding="utf-8")
    assert isinstance(result, Evaluation)
    assert not isinstance(result, FloorEvaluation)
    text = text_run.tokenizer.decode(text_run.data.splits["held_out"].tokens[1:].tolist())
    assert text in whole
    assert result.tokens == len(text_run.tokenizer.encode(text))
    assert result.bytes == len(text.encode())
    assert result.words == len(text.split()) + text.count("\n")
    assert result == text_run.evaluate("held_out")


def test_evaluate_numbers_against_one_token_at_a_time(text_run, tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("a cat sings and nobody\nruns home .\n")
    ids = [text_run.tokenizer.end_of_text_id, *text_run.tokenizer.encode(path.read_text())]
    assert len(ids) <= text_run.model.config.context_length
    nats = sum(slow_nats(text_run.model, ids))
    result = text_run.evaluate(data=str(path))
    assert result.nats == pytest.approx(nats, rel=1e-5)
    assert result.nats_per_token == pytest.approx(nats / (len(ids) - 1))
    assert result.perplexity_per_token == pytest.approx(math.exp(nats / (len(ids) - 1)))
    assert result.perplexity_per_word == pytest.approx(math.exp(nats / (8 + 2)))
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / 35)
    assert text_run.evaluate("test", data=str(path)) == result  # a single file has but one split


def test_evaluate_another_corpus(text_run, wiki_run, tmp_path):
    assert isinstance(text_run.evaluate("test", data="tinywiki"), FloorEvaluation)
    for name in ("wiki.train.raw", "wiki.valid.raw", "wiki.test.raw"):
        (tmp_path / name).write_text(f"a cat {'sings ' * len(name)} .\n")
    assert wiki_run.evaluate("test", data=str(tmp_path)).words == 2 + len("wiki.test.raw") + 2
    assert wiki_run.evaluate("validation", data=str(tmp_path)).words == 2 + len("wiki.valid.raw") + 2
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        wiki_run.evaluate(data="nowhere.txt")


def test_evaluate_reads_the_column_of_the_run_or_the_one_named(tmp_path, capsys):
    """The text of the run is in one column; another table has it in a second."""
    rows = [{"review": f"a cat {number} sings and the old dog sleeps"} for number in range(80)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "theirs.jsonl").write_text("\n".join(json.dumps({"body": row["review"]}) for row in rows))
    quietly(small_run(tmp_path / "mine.jsonl", tmp_path / "run", max_iterations=1, text_field="review"))

    def said(*arguments: str) -> str:
        code = main(["evaluate", str(tmp_path / "run"), *arguments])
        out, err = capsys.readouterr()
        return out if code == 0 else err

    mine = said("--data", str(tmp_path / "mine.jsonl"))
    assert "720 words" in mine
    assert "name the column of text with text_field= or --text-field" in said("--data", str(tmp_path / "theirs.jsonl"))
    assert said("--data", str(tmp_path / "theirs.jsonl"), "--text-field", "body") == mine
    assert "give both, or neither" in said("--text-field", "review")


def test_a_run_kept_in_the_folder_of_its_text_is_no_part_of_that_text(tmp_path, monkeypatch, capsys):
    """As with `--data .`: its history and checkpoints, and what is exported, are not read when it goes on."""
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "words.txt")
    settings = {"data": ".", "csv": True, "progress": False}
    config = small_run(".", "models/mine", max_iterations=2)
    train(config, **settings).export("exported")
    assert train(config, **settings, max_iterations=3, warmup_iterations=1).iteration == 3
    assert train(small_run(".", ".", max_iterations=1), **settings).iteration == 1  # the text's own folder
    assert train(small_run(".", "."), **settings, max_iterations=2, warmup_iterations=0).iteration == 2
    capsys.readouterr()
    assert main(["evaluate", "models/mine"]) == 0
    assert main(["prepare", "laptop", "--data", ".", "--vocab-size", "300"]) == 0
    said = capsys.readouterr().out
    for name, reason in (("history.csv", "a run's history"), ("history.jsonl", "a run's history")):
        assert f"{name} ({reason})" in said
    assert "1 file read; passed over: " in said


def test_evaluate_official_splits(tmp_path):
    draw = random.Random(0)
    for name in ("train", "valid", "test"):
        words = draw.choices(["a", "cat", "sings", "and", "runs"], k={"train": 3000, "valid": 40, "test": 50}[name])
        (tmp_path / f"wiki.{name}.raw").write_text(" ".join(words) + "\n")
    run = train(small_run(tmp_path, tmp_path / "run", max_iterations=1), progress=False)
    assert run.evaluate("validation").words == 41
    assert run.evaluate("test").words == 51


def test_evaluate_a_split_that_is_not_there(text_run, wiki_run, tmp_path):
    for run, known in ((text_run, "held_out"), (wiki_run, "validation")):
        with pytest.raises(ValueError, match=f"no split 'exam', only .*{known}"):
            run.evaluate("exam")


def test_evaluate_refuses_a_text_that_has_changed(tmp_path):
    """Its vocabulary is another, and so are its held-out articles."""
    text = write_text(tmp_path / "words.txt", 300)
    run = train(small_run(text, tmp_path / "run", max_iterations=1), progress=False)
    text.write_text(text.read_text().replace("nobody", "somebody else"))
    with pytest.raises(ValueError, match=r"words\.txt has changed"):
        load_run(run.folder).evaluate()


def test_plot_writes_a_picture(text_run, wiki_run, tmp_path):
    for index, run in enumerate((text_run, wiki_run)):
        path = tmp_path / f"{index}.png"
        figure = run.plot(path)
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        labels = [line.get_label() for line in figure.axes[0].get_lines()]
        assert any("held-out" in label for label in labels)
        assert any("floor" in label for label in labels) == (run is wiki_run)


def test_the_run_of_a_stopped_training_can_be_used(tmp_path):
    text = write_text(tmp_path / "words.txt", 300)
    run = train(small_run(text, tmp_path / "run"), progress=False, on_step=stop_after(3))
    assert not run.finished
    assert run.generate("a cat", maximum_length=4).startswith("a cat")
    assert run.evaluate().nats > 0


def test_a_finished_run_returns_at_once_without_its_data(text, tmp_path, monkeypatch):
    own = write_text(tmp_path / "own.txt", 300)
    config = small_run(own, tmp_path / "run", max_iterations=2)
    done = quietly(config)
    own.unlink()
    monkeypatch.setattr(loop, "prepare", lambda *_: pytest.fail("data was prepared"))
    again = quietly(config)
    assert again.finished
    assert equal(again.model.state_dict(), done.model.state_dict())
    assert again.history == done.history
    assert again.tokenizer.fingerprint == done.tokenizer.fingerprint


DRAWING = """
import json, random, sys
import numpy as np, torch
from tinyllm import RunConfig, train
def draw():
    return torch.rand(3).tolist(), random.random(), np.random.rand()
def seed():
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
seed()
expected = draw()
seed()
train(RunConfig.from_dict(json.loads(sys.argv[1])), progress=False)
assert draw() == expected
"""


def test_the_callers_random_numbers_are_left_alone(text, tmp_path):
    """In a process of its own: the shape checks of these tests draw from `random` themselves."""
    config = json.dumps(small_run(text, tmp_path, max_iterations=1).to_dict())
    done = subprocess.run([sys.executable, "-c", DRAWING, config], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_settings_and_presets_get_near_names(text, tmp_path):
    with pytest.raises(ValueError, match=r"max_iteration'.*max_iterations"):
        train("laptop", max_iteration=3)
    with pytest.raises(ValueError, match=r"lapptop.*laptop"):
        train("lapptop")
    with pytest.raises(ValueError, match="known are laptop, quickstart, wikitext103"):
        train("enormous")


def test_evaluate_in_half_precision_is_close_and_must_be_asked_for(text_run, wiki_run):
    for run in (text_run, wiki_run):
        exact, half = run.evaluate(), run.evaluate(precision="bfloat16")
        assert 0 < abs(exact.nats_per_token - half.nats_per_token) < 1e-3
        assert run.evaluate(precision="auto").nats == exact.nats, "on a CPU there is nothing to gain"
    with pytest.raises(ValueError, match="precision must be"):
        text_run.evaluate(precision="half")
