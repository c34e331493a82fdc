"""Table rows as documents: each row is one, except in WikiText, whose rows are lines."""

from collections.abc import Iterable, Iterator
from itertools import chain

from tinyllm.text.bpe import check_text
from tinyllm.text.dialogues import Dialogue
from tinyllm.text.documents import has_titles, split_articles
from tinyllm.text.tokenizer import END_OF_TEXT

_LOOKED_AT = 1 << 20  # characters of a table in which WikiText's first title must stand
OTHER_FIELD = "name the column of text with text_field= or --text-field"


def row_texts(rows: Iterable[tuple[int, object]], text_field: str, source: str, unit: str = "row") -> Iterator[str]:
    """The text of each numbered row, a list of messages as a `Dialogue`; one without a value gives "".

    Raises ValueError, naming the source and the row, for a value that is not text.
    """
    for number, value in rows:
        if value is None:
            yield ""
            continue
        if isinstance(value, list) and (not value or any(isinstance(message, dict) for message in value)):
            try:
                value = Dialogue(value)
            except ValueError as error:
                raise ValueError(f"{source}, {unit} {number}: {error}") from None
        if not isinstance(value, str):
            kind = type(value).__name__
            raise ValueError(
                f"the column {text_field!r} of {source} holds {kind}, not text, in {unit} {number}; {OTHER_FIELD}"
            )
        try:
            check_text(value)
        except ValueError as error:
            raise ValueError(f"{source}, {unit} {number}: {error}") from None
        yield value


def row_documents(rows: Iterable[str]) -> Iterator[str]:
    """Each row is a document, or more if `<|endoftext|>` separates them; a blank row is none.

    WikiText's tables hold a line in a row, and its articles begin at their titles: a row ` = Title = ` between two
    blank ones, which no other table has. They are found near the start, before an article could end.
    """
    rows = iter(rows)
    first: list[str] = []
    size = 0
    for row in rows:
        first.append(row)
        size += len(row) + 1  # so that endless blank rows are not kept either
        if size > _LOOKED_AT:
            break
    rows = chain(first, rows)
    if not any(isinstance(row, Dialogue) for row in first) and has_titles(row_lines(first)):
        yield from split_articles(row_lines(rows))
        return
    for row in rows:
        if isinstance(row, Dialogue):
            yield row
            continue
        yield from (text for text in row.split(END_OF_TEXT) if text.strip())


def row_lines(rows: Iterable[str]) -> Iterator[str]:
    """Each row as a line. Rows of WikiText end in a newline, except blank ones."""
    return (row if row.endswith("\n") else f"{row}\n" for row in rows)
