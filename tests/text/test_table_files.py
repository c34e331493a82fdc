"""Tables of every kind give the same documents; what cannot be read is named by file and row."""

import csv
import io
import json
import os
from pathlib import Path

import pandas
import pytest
from local_texts import compress, read, write, write_parquet

from tinyllm.text.sources import load_corpus
from tinyllm.text.table_files import table_texts

TEXTS = [
    "Once upon a time, a “fox”\nslept.",
    'She said: "no", twice.',
    " é日本\t🙂 ",
    "a<|endoftext|>b",
    "42",
    "x" * 200_000,  # longer than csv's default
]
DOCUMENTS = [*TEXTS[:3], "a", "b", *TEXTS[4:]]


def table(kind: str, texts: list[str], column: str = "text") -> bytes:
    """A table as other programs write it."""
    frame = pandas.DataFrame({"id": range(len(texts)), column: texts})
    if kind in ("csv", "tsv"):
        return frame.to_csv(index=False, sep="," if kind == "csv" else "\t").encode()
    if kind == "indented json":
        return json.dumps(frame.to_dict("records"), indent=2).encode()
    if kind == "json":
        return frame.to_json(orient="records", force_ascii=False).encode()
    return frame.to_json(orient="records", lines=True).encode()  # also under the ending .json


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.parametrize("kind", ["jsonl", "ndjson", "json", "indented json", "lines.json", "csv", "tsv"])
def test_each_row_is_a_document(tmp_path, kind, ending):
    content = table(kind, TEXTS)
    path = tmp_path / f"mine.{kind.removeprefix('indented ')}{ending}"
    path.write_bytes(compress(content, ending) if ending else content)
    assert read(path) == DOCUMENTS


def test_another_field_is_read_by_its_name(tmp_path):
    for kind in ("jsonl", "json", "csv", "tsv"):
        path = tmp_path / f"mine.{kind}"
        path.write_bytes(table(kind, TEXTS, "the story"))
        corpus = load_corpus(str(path), text_field="the story")
        assert list(corpus.documents("train")) == DOCUMENTS
        assert corpus.identity != load_corpus(str(path)).identity
        with pytest.raises(
            ValueError, match=rf"mine\.{kind}.* no column 'text' but .*'the story'.*--text-field"
        ) as error:
            read(path)
        assert "\n" not in str(error.value)
    path = write_parquet(tmp_path / "mine.parquet", TEXTS, "the.story")
    assert list(load_corpus(str(path), text_field="the.story").documents("train")) == DOCUMENTS


def test_rows_without_text_are_no_documents(tmp_path):
    lines = '{"text": null}\n\n{"text": ""}\n{"text": "one", "x": [1]}\n   \n{"x": {}, "text": "two"}'
    assert read(write(tmp_path / "a.jsonl", lines)) == ["one", "two"]
    assert read(write(tmp_path / "a.csv", "text,id\none,1\n,2\n\ntwo,3\n")) == ["one", "two"]
    for empty in ("a.jsonl", "a.json", "a.csv"):
        assert read(write(tmp_path / empty, "")) == []
    assert read(write(tmp_path / "b.json", "[]\n")) == []


BROKEN = {
    "a.jsonl": ('{"text": "a"}\n{"text": "b\n', "line 2 is not JSON"),
    "b.jsonl": ('{"text": "a"}\n["a"]\n', "line 2 is a list in JSON"),
    "c.jsonl": ('{"text": "a"}\n{"story": "b"}\n', r"line 2 has no column 'text' but \['story'\]"),
    "d.jsonl": ('{"text": "a"}\n\n{"text": 5}\n', "holds int, not text, in line 3"),
    "e.jsonl": ('{"text": "\\ud83d"}\n', "line 1: .* lone surrogate"),
    "f.jsonl": ("[" * 100_000, "line 1 is not JSON"),
    "a.json": ('[{"text": "a"}, {"text": }]', "row 2 is not JSON"),
    "b.json": ('[{"text": "a"}, {"text": "b"}', "row 3 is not JSON"),
    "c.json": ('{"text": ["a", "b"]}', "holds list, not text, in row 1"),
    "d.json": ('{"name": "settings"}', r"no column 'text' but \['name'\]"),
    "e.json": ('["a", "b"]', "row 1 is a str in JSON"),
    "f.json": ("not json", "row 1 is not JSON"),
    "a.csv": ("text,id\nOnce, upon a time,1\n", "line 2 has 3 columns and the header 2"),
    "b.csv": ('text\n"never closed\n', "line 2 cannot be read"),
    "c.csv": ('text\n"a" b\n', "line 2 cannot be read"),
    "d.csv": ("Once upon a time\nthere was\n", r"no column 'text' but \['Once upon a time'\]"),
    "a.tsv": ("id\ttext\n1\n", "line 2 has 1 columns and the header 2"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_one_line_with_file_and_place(tmp_path, name):
    content, wanted = BROKEN[name]
    with pytest.raises(ValueError, match=rf"{name}.*{wanted}|{wanted}.*{name}") as error:
        read(write(tmp_path / name, content))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_large_tables_are_read_a_row_at_a_time(tmp_path, ending):
    path = tmp_path / f"large.{ending}"
    rows = [f"row {number} " + "x" * 10_000 for number in range(1000)]
    path.write_bytes(table(ending, rows))
    with_break = path.read_bytes()
    path.write_bytes(with_break + b'"')  # the end is broken, which is not seen before it is reached
    texts = table_texts(path, "text")
    assert [next(texts) for _ in range(900)] == rows[:900]
    with pytest.raises(ValueError, match="large"):
        list(texts)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_csv_file_with_other_separators_is_read(tmp_path, separator):
    """As Excel writes it where the decimal point is a comma. A comma in the text stays one."""
    frame = pandas.DataFrame({"price, in euros": range(len(TEXTS)), "text": TEXTS})
    assert read(write(tmp_path / "a.csv", frame.to_csv(index=False, sep=separator))) == DOCUMENTS


def test_the_csv_modules_own_files_are_read(tmp_path):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([["text"], *([text] for text in TEXTS)])
    assert read(write(tmp_path / "a.csv", "\ufeff" + buffer.getvalue())) == DOCUMENTS


def test_a_table_of_any_name_can_be_read(tmp_path):
    for name in (b"caf\xe9.parquet", b"caf\xe9.csv.zst"):
        path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
        if path.suffix == ".parquet":
            write_parquet(Path(tmp_path / "plain.parquet"), TEXTS).rename(path)
        else:
            path.write_bytes(compress(table("csv", TEXTS), ".zst"))
        assert read(path) == DOCUMENTS
