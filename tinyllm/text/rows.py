"""Table rows as lines of text: how parquet files and the Hub store WikiText."""

from collections.abc import Iterable, Iterator


def row_lines(rows: Iterable[str | None], source: object) -> Iterator[str]:
    """Yield each row as a line. Rows of WikiText end in a newline, except blank ones; other tables may have none.

    Raises ValueError, naming the `source`, for a row that is not text.
    """
    for row in rows:
        if not isinstance(row, str | None):
            raise ValueError(f"the column 'text' of {source} holds {type(row).__name__}, not text")
        yield row if row and row.endswith("\n") else f"{row or ''}\n"
