"""From a name to a text, or an error that names the near ones."""

import gzip
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from local_texts import read, write

from tinyllm.__main__ import main
from tinyllm.text.sources import SHIPPED, load_corpus, path_from_anywhere
from tinyllm.text.tokenizer import END_OF_TEXT


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("wikitext-2-raw", "wikitext-2-raw-v1"),
        ("tinywikki", "tinywiki"),
        ("moby-dik", "moby-dick"),
        ("wikitext-103v1", "103-v1"),
    ],
)
def test_a_name_that_is_nothing_names_its_neighbours(name, near):
    with pytest.raises(FileNotFoundError, match=re.escape(repr(name))) as error:
        load_corpus(name)
    assert near in str(error.value).replace(name, "", 1)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file or folder.*nowhere"):
        load_corpus(str(tmp_path / "nowhere.txt"))


def test_a_path_is_the_same_from_any_folder_and_a_name_is_a_name(tmp_path, monkeypatch):
    own = write(tmp_path / "own.txt", "text\n")
    write(tmp_path / "tinywiki", "a file with the name of a corpus\n")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert [path_from_anywhere(name) for name in ("../own.txt", "~/own.txt", str(own))] == [str(own)] * 3
    monkeypatch.chdir(tmp_path)
    for name in ("tinywiki", "wikitext-103-v1", "owner/corpus", "own", "日" * 80, "a\0b"):
        assert path_from_anywhere(name) == name


def test_the_environments_text_is_read_instead_of_the_hub(tmp_path, monkeypatch, sample_text):
    other = write(tmp_path / "other.txt", "another text\n")
    monkeypatch.setenv("TINYLLM_DATA", str(sample_text))
    assert list(load_corpus("wikitext-103-raw-v1").documents("train")) == read(sample_text)
    assert read(other) == ["another text\n"]  # a path of the user's own goes before
    assert load_corpus("tinywiki").identity.startswith("tinywiki")
    monkeypatch.setenv("TINYLLM_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_corpus("wikitext-103-raw-v1")
    monkeypatch.setenv("TINYLLM_DATA", "tinywiki")
    assert "test" in load_corpus("wikitext-103-raw-v1").splits


def test_moby_dick_comes_with_the_package(tmp_path, monkeypatch, capsys):
    documents = list(load_corpus("moby-dick").documents("train"))
    assert len(documents) == 138
    assert "Call me Ishmael." in documents[2]
    assert documents[-1].startswith('Epilogue "AND I ONLY AM ESCAPED ALONE TO TELL THEE"')
    assert END_OF_TEXT not in "".join(documents)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "moby-dick", "a file with the name of a corpus")
    assert path_from_anywhere("moby-dick") == "moby-dick"
    assert main(["prepare", "quickstart", "--data", "moby-dick", "--vocab-size", "300", "--json"]) == 0
    printed = capsys.readouterr()
    splits = json.loads(printed.out)["splits"]
    assert splits["train"]["documents"] + splits["held_out"]["documents"] == 138
    assert "read" not in printed.err  # the line on the user's files: this one is not theirs


def test_a_shipped_text_is_known_by_its_content_wherever_it_is_installed(tmp_path, monkeypatch):
    before = load_corpus("moby-dick").identity
    copy = shutil.copy(SHIPPED["moby-dick"], tmp_path)
    monkeypatch.setitem(SHIPPED, "moby-dick", Path(copy))
    assert load_corpus("moby-dick").identity == before
    Path(copy).write_bytes(gzip.compress(b"another text"))
    assert load_corpus("moby-dick").identity != before


@pytest.mark.parametrize(
    "name", ["~nobody-of-this-name/a.txt", "data/my.txt", "./a/b", "data/my.jsonl.gz", "a/b/c", "x:y"]
)
def test_a_name_that_can_only_be_a_path_is_not_looked_for_on_the_hub(name):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        load_corpus(name)


def test_a_data_set_offline_is_one_line_with_both_readings():
    corpus = load_corpus("roneneldan/TinyStories")
    assert load_corpus("roneneldan/TinyStories", "story").identity != corpus.identity  # nothing was asked for yet
    with pytest.raises(ConnectionError, match=r"roneneldan/TinyStories \(no file or folder.*--data") as error:
        list(corpus.documents("train"))
    assert "\n" not in str(error.value)


def test_a_file_goes_before_a_data_set_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "roneneldan" / "TinyStories", "mine")
    assert list(load_corpus("roneneldan/TinyStories").documents("train")) == ["mine"]


def test_the_home_folder_and_links_are_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path / "blobs" / "5e", '{"text": "mine"}\n')
    (tmp_path / "my data.jsonl").symlink_to(tmp_path / "blobs" / "5e")  # as in the Hub's cache: the blob has no ending
    assert list(load_corpus("~/my data.jsonl").documents("train")) == ["mine"]


@pytest.mark.parametrize(
    "name", [b"caf\xe9.txt", "日".encode() * 80 + b".txt", b"two\nlines", b"-x.txt", b"~a b.txt", b"\xff"]
)
def test_a_file_of_any_name_is_read_and_named_printably(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = os.fsdecode(name)
    Path(data).write_text("some text\n")
    assert list(load_corpus(data).documents("train")) == ["some text\n"]
    Path(data).write_bytes(b"\0\0\2\3" * 100)
    with pytest.raises(ValueError, match="is binary data") as error:
        load_corpus(data)
    assert str(error.value).isprintable()
