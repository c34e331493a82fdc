"""Writing files of text for a test, and reading them back as documents."""

import gzip
import re
from pathlib import Path

import pyarrow
import pyarrow.parquet

from tinyllm.text.sources import load_corpus

SENTENCE = "A cat sat on the mat, and the dog did not mind. "


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


def written(folder: Path, content: str | bytes) -> str:
    path = folder / "text.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def compress(content: bytes, ending: str) -> bytes:
    """As `gzip` or `zstd` would: the bytes of a file with that ending."""
    return gzip.compress(content) if ending.lower() == ".gz" else pyarrow.compress(content, "zstd", asbytes=True)
