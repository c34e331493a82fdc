"""Table rows as documents, or as WikiText's lines, or a refusal that names the table and the row."""

import pytest
from hub_server import rows_of
from local_texts import lines_of

from tinyllm.text.dialogues import Dialogue
from tinyllm.text.documents import split_articles
from tinyllm.text.rows import row_documents, row_lines, row_texts


def test_each_row_becomes_one_line():
    rows = [" = Title = \n", "", "no newline", "\n"]
    assert list(row_lines(rows)) == [" = Title = \n", "\n", "no newline\n", "\n"]


@pytest.mark.parametrize(("row", "kind"), [(3, "int"), (b"bytes", "bytes"), (["a"], "list"), (0.5, "float")])
def test_a_row_that_is_not_text_is_refused_by_table_row_and_remedy(row, kind):
    texts = row_texts([(1, "fine"), (2, None), (3, row)], "story", "mine.parquet")
    assert [next(texts), next(texts)] == ["fine", ""]
    wanted = rf"'story' of mine\.parquet holds {kind}, not text, in row 3; .*--text-field"
    with pytest.raises(ValueError, match=wanted):
        next(texts)


def test_half_a_character_is_refused_by_its_row():
    with pytest.raises(ValueError, match=r"mine\.jsonl, line 7: character 1 .* lone surrogate"):
        list(row_texts([(7, "a\ud83d")], "text", "mine.jsonl", "line"))


def test_a_row_is_a_document_and_a_blank_one_is_none():
    rows = ["one\ntwo", "", " \n", "x" * 300_000, " = 2 = \n", "a<|endoftext|>b<|endoftext|>"]
    assert list(row_documents(rows)) == ["one\ntwo", "x" * 300_000, " = 2 = \n", "a", "b"]


def test_wikitexts_rows_are_lines_of_articles(sample_text):
    text = sample_text.read_bytes().decode("utf-8")
    assert list(row_documents(rows_of(text))) == list(split_articles(lines_of(text)))
    middle = rows_of(text)[3:]  # a part of a set may begin within an article
    assert "".join(row_documents(middle)) == "".join(row_lines(middle))


def test_dialogues_beside_wikitexts_rows_stay_dialogues():
    dialogue = Dialogue([{"role": "user", "content": "who sings ?"}])
    *_, last = row_documents(["", " = Title = \n", "", " words\n", dialogue])
    assert last is dialogue


def test_rows_are_read_only_as_far_as_wikitext_would_show():
    def rows():
        for number in range(20):
            yield f"{number}" + "x" * 100_000
        raise AssertionError("read too far")

    assert next(row_documents(rows())).startswith("0x")
