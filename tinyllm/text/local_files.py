"""A corpus from files on this machine: one file, or a folder of files.

A file that is not one of several parts of a split is a text of its own, and each text starts a new document.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tinyllm.text.corpus import Corpus
from tinyllm.text.documents import split_articles
from tinyllm.text.rows import row_lines

FILE_ENDINGS = (".txt", ".raw", ".tokens", ".parquet")
_SPLITS = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}


def local_corpus(path: Path) -> Corpus:
    """A file, which is all training text, or a folder, which may have splits.

    Raises FileNotFoundError for a folder without texts, ValueError for one that is ambiguous. Reading raises ValueError
    for a file that is damaged or not UTF-8.
    """
    splits = {"train": [[path]]} if path.is_file() else _find_splits(path)
    files = [file for texts in splits.values() for text in texts for file in text]
    identity = json.dumps([[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files])
    watched_by = "validation" if "validation" in splits else None
    documents = {split: partial(_documents, texts) for split, texts in splits.items()}
    return Corpus(identity, documents, watched_by=watched_by)


def _find_splits(folder: Path) -> dict[str, list[list[Path]]]:
    """The texts in a folder, by split. A text is one file, or several that are its parts."""
    splits: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in FILE_ENDINGS and file.is_file():
            splits.setdefault(_split_of(file), []).append(file)
    if not splits:
        raise FileNotFoundError(f"{folder} holds none of {', '.join('*' + ending for ending in FILE_ENDINGS)}")
    if "" in splits and len(splits) > 1:
        raise ValueError(f"{folder} mixes train/valid/test files with {splits[''][0].name}: keep one kind")
    if "" in splits:
        return {"train": [[file] for file in splits[""]]}
    for split, files in splits.items():
        _check_one_variant(split, files)
    return {split: [files] for split, files in splits.items()}


def _split_of(file: Path) -> str:
    """The split that a file name mentions, as in wiki.valid.raw or test-00000-of-00001.parquet, or ''."""
    words = re.split(r"[^a-z]+", file.name.lower())
    return next((_SPLITS[word] for word in words if word in _SPLITS), "")


def _check_one_variant(split: str, files: list[Path]) -> None:
    """The files of a split must be one file, or all the parts (00000-of-00002 ...) of one set."""
    matches = [re.fullmatch(r"(.*-)(\d+)(-of-)(\d+)(\..*)", file.name) for file in files]
    parts = [match for match in matches if match is not None]
    if len(files) > 1 and (len(parts) < len(files) or len({part.group(1, 4, 5) for part in parts}) > 1):
        names = ", ".join(file.name for file in files)
        raise ValueError(f"{files[0].parent} holds more than one variant of the {split} split ({names}): name one file")
    if parts and [int(part[2]) for part in parts] != list(range(int(parts[0][4]))):
        raise ValueError(f"{files[0].parent} holds {len(files)} of the {parts[0][4]} parts of the {split} split")


def _documents(texts: list[list[Path]]) -> Iterator[str]:
    for files in texts:
        yield from split_articles(line for file in files for line in _file_lines(file))


def _file_lines(path: Path) -> Iterator[str]:
    if path.suffix.lower() == ".parquet":
        yield from _parquet_lines(path)
        return
    try:
        with path.open(encoding="utf-8", buffering=1 << 20) as file:  # "utf-8-sig" reads at half the speed
            if file.read(1) != "\ufeff":  # a byte-order mark
                file.seek(0)
            yield from file
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text: {_first_bad_byte(path)}; convert it first") from None


def _first_bad_byte(path: Path) -> str:
    """Where a file stops being UTF-8. (The error from reading text counts from the start of the last buffer.)"""
    position = 0
    with path.open("rb") as file:
        for line_number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"{error.reason} at byte {position + error.start}, in line {line_number}"
            position += len(line)
    return "it changed while it was read"


def _parquet_lines(path: Path) -> Iterator[str]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                raise ValueError(f"{path} has no column 'text' but {file.schema_arrow.names}")
            for batch in file.iter_batches(columns=["text"]):
                yield from row_lines(batch.column(0).to_pylist(), path)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as parquet ({reason}): download it again") from None
