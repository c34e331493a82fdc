"""Rows of a table as lines of text."""

from collections.abc import Iterable, Iterator


def row_lines(rows: Iterable[str | None], source: object) -> Iterator[str]:
    """Rows of a table as lines. WikiText's end in a newline, blank ones aside; other people's may not."""
    for row in rows:
        if not isinstance(row, str | None):
            raise ValueError(f"the column 'text' of {source} holds {type(row).__name__}, not text")
        yield row if row and row.endswith("\n") else f"{row or ''}\n"
