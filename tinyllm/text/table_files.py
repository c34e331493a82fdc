"""The rows of a table in a file, one by one: JSON lines, a JSON list, comma- or tab-separated values, parquet."""

import csv
import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from tinyllm.system.paths import shown_name
from tinyllm.text.file_formats import ending_of, open_text
from tinyllm.text.rows import OTHER_FIELD, row_texts

_CHUNK = 1 << 20  # characters of a JSON list read at a time
_LONGEST = 1 << 27  # characters of one row, above which a quotation mark or a bracket must be missing
_BETWEEN_VALUES = re.compile(r"[\s,]*")
_BATCH = 256  # rows of parquet in memory at a time: each may be a whole book


def table_texts(path: Path, text_field: str) -> Iterator[str]:
    """The texts in one field of a table's rows.

    Raises ValueError, in one line that names the file and the row or line, for a table without that field, a row that
    cannot be read, and a value that is not text. A row without a value gives "".
    """
    ending = ending_of(path)
    if ending == ".parquet":
        yield from row_texts(_parquet_rows(path, text_field), text_field, shown_name(path))
        return
    with open_text(path) as file:
        if ending in (".csv", ".tsv"):
            rows = _separated_rows(path, file, text_field)
        elif ending == ".json":
            rows = _json_rows(path, file, text_field)
        else:
            rows = _json_lines(path, file, text_field)
        yield from row_texts(rows, text_field, shown_name(path), "row" if ending == ".json" else "line")


def is_table(path: Path, text_field: str) -> bool:
    """Whether a .json file holds rows. Many hold settings: one object, without a field of text."""
    with open_text(path) as file:
        start = file.read(_CHUNK).lstrip()
    if not start.startswith("{"):
        return re.match(r"\[\s*\{", start) is not None
    try:
        first, _ = json.JSONDecoder().raw_decode(start)
    except ValueError:
        return f'"{text_field}"' in start  # an object longer than this, or broken: reading will say
    return text_field in first


def no_field(source: str, text_field: str, names: list[str], remedy: str = OTHER_FIELD) -> ValueError:
    """The error for a table without the field that was asked for."""
    more = ["..."] if len(names) > 8 else []
    return ValueError(f"{source} has no column {text_field!r} but {[name[:40] for name in names[:8]] + more}; {remedy}")


def _json_lines(path: Path, file: IO[str], text_field: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(file, start=1):
        try:
            row = json.loads(line) if line.strip() else {text_field: None}
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{shown_name(path)}, line {number} is not JSON ({error}): mend or remove that line"
            ) from None
        yield number, _field_of(row, text_field, path, f"line {number}")


def _json_rows(path: Path, file: IO[str], text_field: str) -> Iterator[tuple[int, object]]:
    """The objects of a JSON list, or objects one after another, without holding all of them."""
    decode = json.JSONDecoder().raw_decode
    text = file.read(_CHUNK).lstrip()
    is_list = text.startswith("[")
    number, position, size = 1, int(is_list), _CHUNK
    while True:
        position = _BETWEEN_VALUES.match(text, position).end()  # type: ignore[union-attr]  # it matches anything
        try:
            row, position = decode(text, position)
        except (ValueError, RecursionError) as error:  # broken, or not read to its end
            more = file.read(size) if len(text) - position < _LONGEST else ""
            if not more and text[position:].strip() == ("]" if is_list else ""):
                return
            if not more:
                reason = str(error).partition(": line")[0]
                raise ValueError(
                    f"{shown_name(path)}, row {number} is not JSON ({reason}): mend or remove it"
                ) from None
            text, position, size = text[position:] + more, 0, 2 * size  # doubled: else a long row costs its square
            continue
        yield number, _field_of(row, text_field, path, f"row {number}")
        number, size = number + 1, _CHUNK


def _field_of(row: object, text_field: str, path: Path, place: str) -> object:
    if not isinstance(row, dict):
        kind = type(row).__name__
        raise ValueError(
            f"{shown_name(path)}, {place} is a {kind} in JSON, not an object with the field {text_field!r}"
        )
    if text_field not in row:
        raise no_field(f"{shown_name(path)}, {place}", text_field, list(row))
    return row[text_field]


def _separator(header: str, text_field: str) -> str:
    """A comma, unless the field is found with another one: Excel writes semicolons where a comma is a decimal point."""
    return next((sign for sign in ",;\t|" if text_field in header.strip("\r\n").replace('"', "").split(sign)), ",")


def _separated_rows(path: Path, file: IO[str], text_field: str) -> Iterator[tuple[int, object]]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))  # 131,072 characters by default
    first = file.readline()
    separator = "\t" if ending_of(path) == ".tsv" else _separator(first, text_field)
    rows = csv.reader(chain([first] if first else [], file), delimiter=separator, strict=True)
    try:
        header = next(rows, [text_field])  # an empty file has no rows
        if text_field not in header:
            raise no_field(shown_name(path), text_field, header)
        index = header.index(text_field)
        for row in rows:
            if row and len(row) != len(header):
                raise ValueError(
                    f"{shown_name(path)}, line {rows.line_num} has {len(row)} columns and the header {len(header)}: "
                    "put text with separators, quotation marks or line ends in quotation marks"
                )
            if row:  # a blank line is none
                yield rows.line_num, row[index]
    except csv.Error as error:
        raise ValueError(
            f"{shown_name(path)}, line {rows.line_num} cannot be read ({error}): mend its quotation marks"
        ) from None


def _parquet_rows(path: Path, text_field: str) -> Iterator[tuple[int, object]]:
    import pyarrow.parquet

    try:
        with (
            path.open("rb") as binary,
            pyarrow.parquet.ParquetFile(binary) as file,
        ):  # a name of any bytes can be opened
            if text_field not in file.schema_arrow.names:
                raise no_field(shown_name(path), text_field, file.schema_arrow.names)
            batches = file.iter_batches(_BATCH, columns=[text_field])
            yield from enumerate(chain.from_iterable(batch.column(0).to_pylist() for batch in batches), start=1)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{shown_name(path)} cannot be read as parquet ({reason}): download it again") from None
