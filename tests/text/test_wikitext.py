"""The Hub's path: the real `datasets` against a server on this machine gives the same text, or says what failed."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hub_server import hub, parquet, rows_of, silence, wikitext_files

from tinyllm.__main__ import main
from tinyllm.config import DataConfig
from tinyllm.text.prepared import prepare
from tinyllm.text.sources import load_corpus

NAME = "wikitext-2-raw-v1"
FILE_NAMES = {"train": "train", "validation": "valid", "test": "test"}

# huggingface_hub reads HF_ENDPOINT when it is imported, so each client is a process of its own.
CLIENT = """
import json, sys, time
time.sleep = lambda seconds: None  # huggingface_hub waits longer and longer between its attempts
from tinyllm.config import DataConfig
from tinyllm.text.prepared import prepare
from tinyllm.text.sources import load_corpus
name, what, target = sys.argv[1:]
data = prepare(DataConfig(data=name), 50257, progress=False)
counts = {split: [part.words, part.size] for split, part in data.splits.items()}
ids = {split: [part.tokens.tolist(), part.starts.tolist()] for split, part in data.splits.items()}
result = {"counts": counts, "ids": ids, "datasets": "datasets" in sys.modules}
if what == "ids and text":
    corpus = load_corpus(name)
    result["text"] = {split: list(corpus.documents(split)) for split in corpus.splits}
json.dump(result, open(target, "w", encoding="utf-8"))
"""


def client(folder: Path, address: str, what: str) -> subprocess.CompletedProcess:
    """Read the corpus with caches of its own; the result is then in `folder`/result.json."""
    environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(folder / "hf"), "TINYLLM_HOME": str(folder)}
    arguments = [sys.executable, "-c", CLIENT, NAME, what, str(folder / "result.json")]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120)


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Three splits, made of whole articles of the sample."""
    sample = (Path(__file__).parents[1] / "sample.raw").read_bytes().decode("utf-8")
    first, second, third, fourth = re.split(r"(?<=\n)(?=\n = (?:E|47|Pale) )", sample)
    return {"train": first + second + third + fourth, "validation": third, "test": fourth + second}


@pytest.fixture(scope="module")
def downloaded(texts, tmp_path_factory) -> tuple[Path, dict, list[str]]:
    """The client's folder, what it found on the Hub, and what was asked of the server."""
    folder = tmp_path_factory.mktemp("downloaded")
    with hub(wikitext_files(NAME, {split: rows_of(text) for split, text in texts.items()})) as server:
        done = client(folder, server.address, "ids and text")
        assert done.returncode == 0, done.stderr
        requests = list(server.requests)
    return folder, result(folder), requests


@pytest.fixture(params=["raw", "original", "parquet", "hub's parquet"])
def local(request, texts, tmp_path) -> Path:
    """The same splits as files: with blank lines as "\\n" or " \\n", or in parquet under either project's names."""
    for split, text in texts.items():
        if request.param == "raw":
            (tmp_path / f"wiki.{FILE_NAMES[split]}.raw").write_bytes(text.encode())
        elif request.param == "original":
            lines = [" \n" if line == "" else line for line in rows_of(text)]
            (tmp_path / f"wiki.{FILE_NAMES[split]}.raw").write_bytes("".join(lines).encode())
        elif request.param == "parquet":
            (tmp_path / f"{split}.parquet").write_bytes(parquet(rows_of(text)))
        else:
            (tmp_path / f"{split}-00000-of-00001.parquet").write_bytes(parquet(rows_of(text)))
    return tmp_path


def assert_names_the_ways_out(message: str) -> None:
    assert "Salesforce/wikitext" in message
    assert NAME in message
    for way in ("--data", "TINYLLM_DATA", "tinywiki"):
        assert way in message
    assert len(message.strip().splitlines()) == 1


def test_the_hubs_rows_have_empty_strings_for_blank_lines(texts):
    rows = rows_of(texts["train"])
    assert rows[:3] == ["", " = Alder Point Light = \n", ""]
    assert all(row == "" or row.endswith(" \n") for row in rows)


def test_hub_files_and_parquet_give_the_same_ids_and_counts(downloaded, local, texts, monkeypatch, tmp_path):
    _, found, requests = downloaded
    assert any(request.startswith("GET") and request.endswith("train-00000-of-00001.parquet") for request in requests)
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TINYLLM_DATA", str(local))
    data = prepare(DataConfig(data=NAME), 50_257, progress=False)
    assert found["datasets"] is True
    documents = {split: len(part.starts) for split, part in data.splits.items()}
    assert documents == {"train": 3, "held_out": 1, "validation": 1, "test": 2}
    assert {split: [part.words, part.size] for split, part in data.splits.items()} == found["counts"]
    assert {split: [part.tokens.tolist(), part.starts.tolist()] for split, part in data.splits.items()} == found["ids"]
    sizes = {split: size for split, (_, size) in found["counts"].items()}
    sizes["train"] += sizes.pop("held_out")
    assert sizes == {split: len(text.encode()) for split, text in texts.items()}


def test_hub_and_files_give_the_same_text(downloaded, local, texts):
    _, found, _ = downloaded
    corpus = load_corpus(str(local))
    documents = {split: list(corpus.documents(split)) for split in corpus.splits}
    assert found["text"] == documents
    assert {split: "".join(parts) for split, parts in documents.items()} == texts


def test_a_prepared_cache_needs_no_network(downloaded):
    folder, found, _ = downloaded
    again = client(folder, "http://127.0.0.1:9", "ids")
    assert again.returncode == 0, again.stderr
    assert result(folder)["datasets"] is False
    assert result(folder)["ids"] == found["ids"]


@pytest.mark.parametrize("server", ["nothing", "silence"])
def test_with_no_network_one_line_says_what_to_do_instead(server, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path))
    with silence() as silent:
        address = {"nothing": "http://127.0.0.1:9", "silence": silent}[server]
        monkeypatch.setenv("HF_ENDPOINT", address)
        began = time.monotonic()
        assert main(["prepare", "wikitext103", "--data", NAME]) == 1
        assert time.monotonic() - began < 12
    printed = capsys.readouterr()
    assert printed.out == ""
    assert address in printed.err
    assert_names_the_ways_out(printed.err)
    assert [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".json")] == []


def last_line(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


def test_a_hub_that_is_out_of_order_is_named(tmp_path, texts):
    with hub(wikitext_files(NAME, {"train": rows_of(texts["train"])}), status=500) as server:
        message = last_line(client(tmp_path, server.address, "ids"))
        assert any(request.startswith("HEAD /datasets/Salesforce/wikitext/resolve/") for request in server.requests)
    assert "ConnectionError: could not load" in message
    assert server.address in message
    assert_names_the_ways_out(message)
    assert not list(tmp_path.rglob("*.bin"))


def test_rows_without_text_are_refused(tmp_path, texts):
    with hub(wikitext_files(NAME, {"train": rows_of(texts["train"])}, column="words")) as server:
        message = last_line(client(tmp_path, server.address, "ids"))
    assert "no column 'text' but ['words']" in message
    assert_names_the_ways_out(message)


def test_rows_of_something_else_than_text_are_refused(tmp_path):
    with hub(wikitext_files(NAME, {"train": [1, 2, 3]})) as server:
        message = last_line(client(tmp_path, server.address, "ids"))
    assert "Salesforce/wikitext wikitext-2-raw-v1 holds int, not text" in message


@pytest.mark.parametrize("trouble", [pytest.param("500", marks=pytest.mark.slow), "cut", "a split is missing"])
def test_after_a_hub_in_trouble_a_second_try_works(trouble, tmp_path, texts, downloaded):
    """In the same caches, where the first try left whatever it had."""
    files = wikitext_files(NAME, {split: rows_of(text) for split, text in texts.items()})
    with hub(files) as server:
        if trouble == "500":
            server.status = 500
        elif trouble == "cut":
            server.cut = True
        else:
            server.files = wikitext_files(NAME, {"train": rows_of(texts["train"])})
        message = last_line(client(tmp_path, server.address, "ids"))
        assert_names_the_ways_out(message)
        assert not list(tmp_path.rglob("*.bin"))
        server.status, server.cut, server.files = 200, False, files
        again = client(tmp_path, server.address, "ids")
        assert again.returncode == 0, again.stderr
    assert result(tmp_path)["ids"] == downloaded[1]["ids"]
    assert result(tmp_path)["counts"] == downloaded[1]["counts"]
