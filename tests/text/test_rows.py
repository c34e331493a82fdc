"""Table rows as lines: a newline each, or a refusal that names the table."""

import pytest

from tinyllm.text.rows import row_lines


def test_each_row_becomes_one_line():
    assert list(row_lines([" = Title = \n", "", "no newline", None, "\n"], "a table")) == [
        " = Title = \n",
        "\n",
        "no newline\n",
        "\n",
        "\n",
    ]


@pytest.mark.parametrize(("row", "kind"), [(3, "int"), (b"bytes", "bytes"), (["a"], "list")])
def test_a_row_that_is_not_text_is_refused_by_the_name_of_its_table(row, kind):
    lines = row_lines(["fine", row], "mine.parquet")
    assert next(lines) == "fine\n"
    with pytest.raises(ValueError, match=rf"'text' of mine\.parquet holds {kind}, not text"):
        next(lines)


def test_rows_are_read_one_by_one():
    def rows():
        yield "first"
        raise AssertionError("read too far")

    assert next(row_lines(rows(), "endless")) == "first\n"
