"""Where text comes from: articles found whole, folders understood or refused, and errors that say where."""

import json
import os
import re
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hub_server import rows_of
from hypothesis import example, given
from hypothesis import strategies as st

from tinyllm.text.documents import split_articles
from tinyllm.text.sources import load_corpus

TITLES = ["Alder Point Light", "E = mc2 ( 1931 play )", "47 Marrow Street", "Pale sorrel moth"]
LARGE = 10_000  # characters of a document without titles


def lines_of(text: str) -> list[str]:
    """Lines with their newlines, cut at "\\n" only."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def read(path: Path, split: str = "train") -> list[str]:
    return list(load_corpus(str(path)).documents(split))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    return path


def write_parquet(path: Path, rows: list[str | None], column: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table({column: rows}), path, row_group_size=7)
    return path


def slow_titles(lines: list[str]) -> list[int]:
    """The places of the titles, told by hand: one equals sign each side, and a blank line before and after."""
    blank = [line.strip(" \n") == "" and len(line) <= 2 for line in lines]
    places = []
    for place, line in enumerate(lines):
        alone = (place == 0 or blank[place - 1]) and (place + 1 == len(lines) or blank[place + 1])
        framed = line.startswith(" = ") and line.endswith(" = \n") and len(line) >= len(" =  = \n")
        section = line.startswith(" = = ") or line.endswith(" = = \n")
        if alone and framed and not section:
            places.append(place)
    return places


@pytest.fixture
def text(sample_text: Path) -> str:
    return sample_text.read_bytes().decode("utf-8")


# Articles


def test_each_article_of_the_sample_is_one_document(sample_text, text):
    documents = read(sample_text)
    assert [document.strip("\n").splitlines()[0] for document in documents] == [f" = {title} = " for title in TITLES]
    assert "".join(documents) == text


def test_the_sample_holds_its_traps(text):
    # Lines that look like titles, but are not between two blank lines; they stay where they are.
    assert "\n = 2 + 2 = \n" in text
    assert "\n\n = m times c squared = \n ( from" in text
    assert "\n = = = Keepers = = = \n" in text


def test_blank_lines_of_the_files_and_rows_of_the_hub_are_the_same_text(text):
    plain = list(split_articles(lines_of(text)))
    files = [" \n" if line == "\n" else line for line in lines_of(text)]  # the original files' blank line
    rows = rows_of(text)
    assert files.count(" \n") == rows.count("") == text.count("\n\n") + 1 > 20
    assert list(split_articles(files)) == plain
    assert list(split_articles(rows)) == plain


LINES = st.sampled_from(
    [
        *("\n", "\n", " \n", "  \n", " prose , and more \n", "é\u2028\x85 \n", " = 2 + 2 = \n"),
        *(" = A = \n", " = B 2 = \n", " = a = b = \n", " =  = \n", "= A = \n", " = A =\n"),
        *(" = = S = = \n", " = =  = \n", " = = = T = = = \n", " = = U = \n", " = U = = \n"),
    ]
)


@given(st.lists(LINES, max_size=30))
@example([" prose \n", " = A = \n", "\n"])
@example(["\n", "\n", " = A = \n"])
def test_documents_begin_at_titles_and_joined_are_the_text(lines):
    text = "".join("\n" if line == " \n" else line for line in lines)
    documents = list(split_articles(lines))
    if not text.strip():
        assert documents == []
        return
    assert "".join(documents) == text
    starts = [0]
    for place in slow_titles(lines):
        before = "".join(lines[:place])
        if before.strip():
            starts.append(len("".join("\n" if line == " \n" else line for line in lines[:place])))
    lengths = [0]
    for document in documents[:-1]:
        lengths.append(lengths[-1] + len(document))
    assert lengths == starts
    assert all(document.strip() for document in documents)


@given(st.lists(st.one_of(st.just("\n"), st.integers(1, 4000).map(lambda n: "x" * n + "\n"), st.text()), max_size=40))
@example(["x" * LARGE + "\n", "\n", "\n"])  # blank lines after a full piece
@example(["x" * (3 * LARGE), "end"])
def test_text_without_titles_is_cut_at_line_ends_into_bounded_pieces(parts):
    lines = lines_of("".join(parts))
    lines = ["\n" if line == " \n" else line for line in lines]
    pieces = list(split_articles(lines))
    if "".join(lines).strip():
        assert "".join(pieces) == "".join(lines)
    ends = {0}
    for line in lines:
        ends.add(max(ends) + len(line))
    reached = 0
    for piece in pieces:
        reached += len(piece)
        assert reached in ends
        longest = max(map(len, lines_of(piece)))
        assert len(piece.rstrip()) < LARGE + longest
        assert piece.strip()
    assert all(len(piece) >= LARGE for piece in pieces[:-1])


def test_a_long_article_is_still_one_document(text):
    lines = ["\n", " = Long = \n", "\n", *[" prose \n"] * LARGE, *lines_of(text)]
    documents = list(split_articles(lines))
    assert len(documents) == 1 + len(TITLES)
    assert len(documents[0]) > 5 * LARGE


def test_articles_are_read_one_by_one():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 3
            yield from ["\n", " = Title = \n", "\n"]

    documents = split_articles(endless())
    for _ in range(5):
        next(documents)
    assert taken < 30


# Files


@pytest.mark.parametrize("ending", [".raw", ".tokens", ".txt", ".TXT", ""])
def test_a_file_of_any_name_is_read_as_it_stands(tmp_path, text, ending):
    assert "".join(read(write(tmp_path / f"test{ending}", text))) == text


@pytest.mark.parametrize("ending", [".parquet", ".PARQUET"])
def test_parquet_gives_the_same_documents(tmp_path, sample_text, text, ending):
    assert read(write_parquet(tmp_path / f"train{ending}", rows_of(text))) == read(sample_text)


def test_rows_without_line_ends_are_still_lines(tmp_path):
    # Other people's tables hold lines without newlines, and gaps.
    path = write_parquet(tmp_path / "mine.parquet", ["one", "two\n", "", None, "three"])
    assert read(path) == ["one\ntwo\n\n\nthree\n"]


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


# Folders


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
    ],
)
def test_two_variants_of_one_split_are_refused(tmp_path, first, second):
    write(tmp_path / "wiki.train.raw", "text\n")
    for name in (first, second):
        write(tmp_path / name, "text\n")
    with pytest.raises(ValueError, match="more than one variant of the validation split") as error:
        load_corpus(str(tmp_path))
    assert first in str(error.value)
    assert second in str(error.value)


def test_splits_mixed_with_other_texts_are_refused(tmp_path):
    write(tmp_path / "train.txt", "text\n")
    write(tmp_path / "poems.txt", "text\n")
    with pytest.raises(ValueError, match=r"mixes.*poems\.txt"):
        load_corpus(str(tmp_path))


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


def test_a_folder_without_texts_names_what_it_looked_for(tmp_path):
    write(tmp_path / "notes.md", "text")
    with pytest.raises(FileNotFoundError, match=r"\.txt.*\.parquet"):
        load_corpus(str(tmp_path))


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    write(tmp_path / "wiki.valid.raw", "text\n")
    with pytest.raises(ValueError, match="no train split, only validation"):
        read(tmp_path)


# Names


@pytest.mark.parametrize(
    ("name", "near"), [("wikitext-2-raw", "wikitext-2-raw-v1"), ("tinywikki", "tinywiki"), ("wikitext-103v1", "103-v1")]
)
def test_a_name_that_is_nothing_names_its_neighbours(name, near):
    with pytest.raises(FileNotFoundError, match=re.escape(repr(name))) as error:
        load_corpus(name)
    assert near in str(error.value).replace(name, "", 1)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file or folder.*nowhere"):
        load_corpus(str(tmp_path / "nowhere.txt"))


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


def test_the_identity_changes_with_the_text_and_only_with_it(tmp_path):
    path = write(tmp_path / "mine.txt", "one text\n")
    before = load_corpus(str(path)).identity
    assert load_corpus(str(path)).identity == before
    os.utime(path, ns=(1, 1))
    touched = load_corpus(str(path)).identity
    write(path, "a longer text\n")
    os.utime(path, ns=(1, 1))
    assert len({before, touched, load_corpus(str(path)).identity}) == 3
    assert json.loads(before)[0][0] == str(path)
