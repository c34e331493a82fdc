"""Text from files on this machine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tinyllm.text.corpus import Corpus
from tinyllm.text.documents import split_articles
from tinyllm.text.rows import row_lines

FILE_ENDINGS = (".txt", ".raw", ".tokens", ".parquet")


def _file_lines(path: Path) -> Iterator[str]:
    if path.suffix.lower() == ".parquet":
        yield from _parquet_lines(path)
        return
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from file
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text: {_first_bad_byte(path)}; convert it first") from None


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


def _first_bad_byte(path: Path) -> str:
    """Where a file stops being UTF-8. (The error of a file read as text counts from the last buffer it filled.)"""
    position = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"{error.reason} at byte {position + error.start}, in line {number}"
            position += len(line)
    return "it changed while it was read"


def local_corpus(path: Path) -> Corpus:
    """A file, or a folder of files. Raises ValueError for a folder that is ambiguous."""
    texts = {"train": [[path]]} if path.is_file() else _folder_texts(path)
    every = [file for parts in texts.values() for files in parts for file in files]
    identity = json.dumps([[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in every])
    return Corpus(identity, {split: lambda parts=parts: _read_texts(parts) for split, parts in texts.items()})


def _folder_texts(folder: Path) -> dict[str, list[list[Path]]]:
    """By split, the texts a folder holds; a text is one file, or several that are its parts."""
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
    """The split that a file's name speaks of, as in wiki.valid.raw or test-00000-of-00001.parquet, or ''."""
    words = re.split(r"[^a-z]+", file.name.lower())
    names = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation", "test": "test"}
    return next((names[word] for word in words if word in names), "")


def _check_one_variant(split: str, files: list[Path]) -> None:
    """Several files of one split must be all the parts (00000-of-00002 ...) of one set."""
    parts = [re.fullmatch(r"(.*-)(\d+)(-of-)(\d+)(\..*)", file.name) for file in files]
    if len(files) > 1 and (None in parts or len({part.group(1, 4, 5) for part in parts}) > 1):
        names = ", ".join(file.name for file in files)
        raise ValueError(f"{files[0].parent} holds more than one variant of the {split} split ({names}): name one file")
    if None not in parts and [int(part[2]) for part in parts] != list(range(int(parts[0][4]))):
        raise ValueError(f"{files[0].parent} holds {len(files)} of the {parts[0][4]} parts of the {split} split")


def _read_texts(texts: list[list[Path]]) -> Iterator[str]:
    for files in texts:
        yield from split_articles(line for file in files for line in _file_lines(file))
