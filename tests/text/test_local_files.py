"""Files and folders: understood or refused, with errors that say where."""

import json
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hub_server import rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from local_texts import SENTENCE, lines_of, read, write, write_parquet, written

from tinyllm.text.documents import PIECE
from tinyllm.text.sources import load_corpus

CONTROLS = "".join(map(chr, range(32)))  # a file of hardly anything else is no text


@pytest.fixture
def text(sample_text: Path) -> str:
    return sample_text.read_bytes().decode("utf-8")


@pytest.mark.parametrize("ending", [".raw", ".tokens", ".txt", ".TXT", ""])
def test_a_file_of_any_name_is_read_as_it_stands(tmp_path, text, ending):
    assert "".join(read(write(tmp_path / f"test{ending}", text))) == text


@pytest.mark.parametrize("ending", [".parquet", ".PARQUET"])
def test_parquet_gives_the_same_documents(tmp_path, sample_text, text, ending):
    assert read(write_parquet(tmp_path / f"train{ending}", rows_of(text))) == read(sample_text)


def test_rows_of_other_tables_are_documents(tmp_path):
    path = write_parquet(tmp_path / "mine.parquet", ["one", "two\n", "", None, "three\n\n more"])
    assert read(path) == ["one", "two\n", "three\n\n more"]


def test_a_text_is_one_document(tmp_path):
    text = (SENTENCE * 20 + "\n\n") * 100  # about 100,000 characters
    assert read(write(tmp_path / "novel.txt", text)) == [text]
    assert read(write(tmp_path / "stories.txt", f"{text}<|endoftext|>\n" * 3)) == [text] * 3


@pytest.mark.parametrize("letter", ["word ", "日"])
def test_a_line_longer_than_memory_is_read_in_pieces_that_cut_no_separator(tmp_path, letter):
    story = letter * 1999 + "end"
    path = write(tmp_path / "one-line.txt", "<|endoftext|>".join([story] * 100 + [letter * 700_000]))
    documents = read(path)
    assert documents[:100] == [story] * 100
    assert "".join(documents[100:]) == letter * 700_000
    assert max(map(len, documents)) < 2 * PIECE
    long = letter.strip() * (PIECE - 5)  # the separator stands where a piece would end
    assert "".join(read(write(path, f"{long}<|endoftext|>end"))) == long + "end"


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path, sample_text, text):
    windows = write(tmp_path / "windows.txt", "\ufeff" + text.replace("\n", "\r\n"))
    assert read(windows) == read(sample_text)


@pytest.mark.parametrize("before", [0, 17, 8191, 8192, 30_000])
def test_bytes_that_are_not_utf8_are_named_by_position(tmp_path, before):
    path = tmp_path / "latin.txt"
    content = (b"0123456789abcde\n" * (before // 16 + 1))[:before]
    path.write_bytes(content + b"caf\xe9 au lait\n")
    with pytest.raises(ValueError, match=rf"latin\.txt.* byte {before + 3}, in line {before // 16 + 1};"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"not parquet at all", "cut"])
def test_a_torn_parquet_file_is_named(tmp_path, content):
    path = tmp_path / "torn.parquet"
    if content == "cut":
        pyarrow.parquet.write_table(pyarrow.table({"text": ["a cat\n"] * 1000}), path)
        whole = path.read_bytes()
        content = whole[:8] + bytes(len(whole) // 4) + whole[8 + len(whole) // 4 :]  # the footer is in order
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"torn\.parquet cannot be read as parquet") as refusal:
        list(load_corpus(str(path)).documents("train"))
    assert "\n" not in str(refusal.value)


def test_parquet_of_numbers_is_refused(tmp_path):
    path = tmp_path / "numbers.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2, 3]}), path)
    with pytest.raises(ValueError, match=r"numbers\.parquet holds int, not text"):
        list(load_corpus(str(path)).documents("train"))


def test_parquet_without_a_text_column_is_refused(tmp_path):
    path = write_parquet(tmp_path / "mine.parquet", ["a"], column="sentence")
    with pytest.raises(ValueError, match=r"mine\.parquet.*'text'.*sentence"):
        read(path)


@pytest.mark.parametrize("ending", ["raw", "tokens", "txt", "parquet"])
@pytest.mark.parametrize("valid", ["valid", "validation"])
def test_a_folder_holds_the_splits_its_names_say(tmp_path, ending, valid):
    for split in ("train", valid, "test"):
        path = tmp_path / f"wiki.{split}.{ending}"
        if ending == "parquet":
            write_parquet(path, [f"the {split} text\n"])
        else:
            write(path, f"the {split} text\n")
    write(tmp_path / "notes.md", "not read")
    (tmp_path / "train").mkdir()
    corpus = load_corpus(str(tmp_path))
    assert set(corpus.splits) == {"train", "validation", "test"}
    for split, name in {"train": "train", "validation": valid, "test": "test"}.items():
        assert list(corpus.documents(split)) == [f"the {name} text\n"]
        assert list(corpus.documents(split)) == [f"the {name} text\n"]  # each call reads anew


@pytest.mark.parametrize("ending", ["parquet", "raw"])
def test_parts_of_a_split_are_one_text(tmp_path, sample_text, text, ending):
    lines = rows_of(text) if ending == "parquet" else lines_of(text)
    half = len(lines) // 2 + 3  # in the middle of an article
    for number, part in enumerate((lines[:half], lines[half:])):
        path = tmp_path / f"train-{number:05d}-of-00002.{ending}"
        _ = write_parquet(path, part) if ending == "parquet" else write(path, "".join(part))
    assert read(tmp_path) == read(sample_text)


@pytest.mark.parametrize("parquet", [False, True])
def test_each_plain_text_of_a_folder_begins_a_document(tmp_path, parquet):
    write(tmp_path / "b.txt", "second\n")
    write(tmp_path / "c.TXT", " = Third = \n\n third \n\n = Fourth = \n\n fourth \n")
    write(tmp_path / "empty.txt", "")
    if parquet:
        write_parquet(tmp_path / "a.parquet", ["first\n"])
    else:
        write(tmp_path / "a.raw", "first\n")
    corpus = load_corpus(str(tmp_path))
    assert list(corpus.splits) == ["train"]
    third = [" = Third = \n\n third \n\n", " = Fourth = \n\n fourth \n"]
    assert list(corpus.documents("train")) == ["first\n", "second\n", *third]


def test_the_identity_changes_with_the_text_and_only_with_it(tmp_path):
    path = write(tmp_path / "mine.txt", "one text\n")
    before = load_corpus(str(path)).identity
    assert load_corpus(str(path)).identity == before
    os.utime(path, ns=(1, 1))
    touched = load_corpus(str(path)).identity
    write(path, "a longer text\n")
    os.utime(path, ns=(1, 1))
    assert len({before, touched, load_corpus(str(path)).identity}) == 3
    assert json.loads(before)[1][0] == str(path)


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=CONTROLS), max_size=300))
def test_any_text_of_a_file_comes_back_from_its_documents(text, tmp_path_factory):
    path = Path(written(tmp_path_factory.mktemp("any"), text))
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = "".join(load_corpus(str(path)).documents("train"))
    assert found == "" if not expected.strip() else found.rstrip("\n") == expected.rstrip("\n")
