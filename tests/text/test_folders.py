"""Folders: which files are read for which split, what is passed over and why, and what is ambiguous."""

import os
from pathlib import Path

import pytest
from local_texts import compress, read, write, write_parquet

from tinyllm.__main__ import main
from tinyllm.text.folders import find_texts
from tinyllm.text.sources import load_corpus


def make(folder: Path, names: str) -> None:
    """Each name as a file of one document: itself."""
    for name in names.split():
        path = folder / name
        if path.suffix == ".parquet":
            write_parquet(path, [name])
        else:
            write(path, {".jsonl": f'{{"text": "{name}"}}', ".csv": f"text\n{name}\n"}.get(path.suffix, name))


def test_files_of_every_kind_in_every_folder_are_read_together(tmp_path):
    make(tmp_path, "a.txt b.md c/d.jsonl c/e/f.csv c/e/g.parquet h.py LICENSE .hidden .git/config __pycache__/x.txt")
    make(tmp_path, "node_modules/y.txt c/.z.txt")
    (tmp_path / "i.txt.gz").write_bytes(compress(b"i.txt.gz", ".gz"))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\0")
    (tmp_path / "data.bin").write_bytes(b"\xc3\x28" * 9000)
    (tmp_path / "c" / "paper.pdf").write_bytes(b"%PDF-1.4")
    write(tmp_path / "package.json", '{\n  "name": "settings"\n}')
    write(tmp_path / "wide.txt", "").write_bytes("some text".encode("utf-16"))
    corpus = load_corpus(str(tmp_path))
    assert sorted(corpus.documents("train")) == sorted(
        "LICENSE a.txt b.md c/d.jsonl c/e/f.csv c/e/g.parquet h.py i.txt.gz".split()
    )
    assert corpus.reading.passed_over == {
        "c/paper.pdf": "a PDF",
        "data.bin": "not UTF-8 text",
        "package.json": "an object without the field 'text'",
        "photo.jpg": "binary data",
        "wide.txt": "text in UTF-16, to be converted to UTF-8",
    }
    assert str(corpus.reading).startswith("8 files read; passed over: ")


SPLITS = [
    ("train/a.txt train/b/c.jsonl validation/d.jsonl test/e.csv", "train/a.txt train/b/c.jsonl", "validation/d.jsonl"),
    ("data/train/a.txt data/val/b.txt data/README.md", "data/train/a.txt", "data/val/b.txt"),
    ("TinyStories-train.txt TinyStories-valid.txt README.md", "TinyStories-train.txt", "TinyStories-valid.txt"),
    ("a.txt b.md valid.txt", "a.txt b.md", "valid.txt"),
    ("train.1.txt train.2.txt", "train.1.txt train.2.txt", ""),
    ("data/train-00000-of-00002.jsonl data/train-00001-of-00002.jsonl", None, ""),
    ("train.py validation.py valid.md test_x.py The_test_of_time.txt testimony.txt", None, ""),
    ("train/a.txt poems.txt Valid.jsonl", "train/a.txt", "Valid.jsonl"),
    ("train/valid-answers.txt", "train/valid-answers.txt", ""),
]


@pytest.mark.parametrize(("names", "train", "validation"), SPLITS)
def test_names_of_folders_and_files_say_the_split(tmp_path, names, train, validation):
    make(tmp_path, names)
    corpus = load_corpus(str(tmp_path))
    assert sorted(corpus.documents("train")) == sorted((names if train is None else train).split())
    assert sorted(corpus.documents("validation") if validation else ()) == validation.split()
    known = {name for files in corpus.reading.files.values() for name in files} | corpus.reading.passed_over.keys()
    assert known == set(names.split())
    assert set(corpus.reading.passed_over.values()) <= {"no split in its name"}


def test_a_text_and_the_same_compressed_is_read_once(tmp_path):
    make(tmp_path, "a.jsonl train.txt")
    (tmp_path / "a.jsonl.gz").write_bytes(compress(b"{}", ".gz"))
    assert find_texts(tmp_path, "text").passed_over[tmp_path / "a.jsonl.gz"] == "the same as a.jsonl"


def test_links_are_followed_once(tmp_path):
    make(tmp_path / "data", "a.txt")
    make(tmp_path / "other", "b.txt")
    (tmp_path / "data" / "up").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data" / "other").symlink_to(tmp_path / "other", target_is_directory=True)
    (tmp_path / "data" / "gone.txt").symlink_to(tmp_path / "nowhere")
    assert read(tmp_path / "data") == ["a.txt", "b.txt"]
    assert load_corpus(str(tmp_path / "data")).reading.passed_over == {"gone.txt": "not a file"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has named pipes")
def test_a_pipe_is_passed_over_not_waited_for(tmp_path):
    make(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    assert read(tmp_path) == ["a.txt"]


def test_a_folder_of_names_that_are_not_utf8_is_printed(tmp_path):
    make(tmp_path, "a.txt")
    for name in (b"caf\xe9.txt", b"caf\xe9.pdf", b"two\nlines.txt"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"%PDF" if name.endswith(b"pdf") else b"some text")
    corpus = load_corpus(str(tmp_path))
    assert list(corpus.documents("train")) == ["a.txt", "some text", "some text"]
    assert str(corpus.reading) == r"3 files read; passed over: caf\xe9.pdf (a PDF)"


def test_a_table_without_the_field_is_not_passed_over(tmp_path):
    make(tmp_path, "README.md a.jsonl")
    write(tmp_path / "b.jsonl", '{"story": "b"}\n')
    with pytest.raises(ValueError, match=r"b\.jsonl.* no column 'text' but \['story'\]"):
        read(tmp_path)


@pytest.mark.parametrize("names", ["", ".hidden.txt", "a.pdf"])
def test_a_folder_without_texts_says_what_it_looked_for(tmp_path, names, capsys):
    for name in names.split():
        (tmp_path / name).write_bytes(b"%PDF")
    assert main(["prepare", "laptop", "--data", str(tmp_path)]) == 1
    printed = capsys.readouterr().err
    assert "holds no text" in printed
    assert ".jsonl" in printed
    assert ("a.pdf is a PDF" in printed) == (names == "a.pdf")
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("present", [["00000-of-00002"], ["00001-of-00002"], ["00000-of-00003", "00002-of-00003"]])
def test_a_missing_part_is_refused(tmp_path, present):
    for part in present:
        write_parquet(tmp_path / f"train-{part}.parquet", ["text\n"])
    with pytest.raises(ValueError, match=rf"{len(present)} of the 0000\d parts of the train split"):
        load_corpus(str(tmp_path))


def test_parts_that_do_not_count_from_nought_are_refused(tmp_path):
    for number in (1, 2):
        write_parquet(tmp_path / f"train-{number:05d}-of-00002.parquet", ["text\n"])
    with pytest.raises(ValueError, match="parts of the train split"):
        load_corpus(str(tmp_path))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("wiki.valid.raw", "wiki.valid.tokens"),
        ("valid.txt", "validation.txt"),
        ("valid-00000-of-00001.parquet", "valid-00000-of-00002.parquet"),
        ("valid-00000-of-00002.parquet", "valid.raw"),
        ("wikitext-103/valid.txt", "wikitext-2/valid.txt"),
        ("wikitext-103-valid.txt", "wikitext-2-valid.txt"),
        ("valid.txt", "valid.jsonl"),
    ],
)
def test_two_variants_of_one_split_are_refused(tmp_path, first, second):
    write(tmp_path / "wiki.train.raw", "text\n")
    for name in (first, second):
        write(tmp_path / name, "text\n")
    with pytest.raises(ValueError, match=r"more than one variant of the validation split .*: name one") as error:
        load_corpus(str(tmp_path))
    assert first in str(error.value)
    assert second in str(error.value)
