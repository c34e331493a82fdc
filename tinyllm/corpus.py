"""Where text comes from: TinyWiki, WikiText from the Hugging Face Hub, or your own files.

WikiText's articles are the documents: a line ` = Title = ` between two blank lines starts one. Text without such
titles is cut at line ends into pieces of about 10,000 characters, and each file starts a new document.

Source: Merity et al., "Pointer Sentinel Mixture Models" (2016), which introduced WikiText.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

from tinyllm import tinywiki
from tinyllm.config import near_names
from tinyllm.network import check_reachable, hub_endpoint

HUB_NAME = "Salesforce/wikitext"
HUB_CORPORA = ("wikitext-103-raw-v1", "wikitext-103-v1", "wikitext-2-raw-v1", "wikitext-2-v1")
TINYWIKI_CORPORA = ("tinywiki", "tinywiki-full")
FILE_ENDINGS = (".txt", ".raw", ".tokens", ".parquet")
WAYS_OUT = (
    "give a file or folder with data= / --data, or in TINYLLM_DATA, or train on 'tinywiki', which needs no network"
)

_TITLE = re.compile(r" = (?!= ).*(?<! =) = \n")
_PIECE = 10_000  # characters of a document without titles


@dataclass(frozen=True)
class Corpus:
    """Documents by split. `identity` changes when the text does, so that a cache knows."""

    identity: str
    splits: dict[str, Callable[[], Iterator[str]]]

    def documents(self, split: str) -> Iterator[str]:
        """Read a split's documents one by one. Raises ValueError if there is no such split."""
        if split not in self.splits:
            raise ValueError(
                f"this corpus has no {split} split, only {', '.join(self.splits)}; "
                "to read a file whatever its name, give the file, not its folder"
            )
        return self.splits[split]()


def load_corpus(data: str) -> Corpus:
    """Find the text that `data` names: a corpus, a file, or a folder.

    TINYLLM_DATA, if set, is read instead of the Hub. Nothing is downloaded before documents are read.
    Raises FileNotFoundError for a path or name that does not exist, ValueError for a folder that is ambiguous.
    """
    if data in HUB_CORPORA:
        data = os.environ.get("TINYLLM_DATA") or data
    if data in TINYWIKI_CORPORA:
        full = data == "tinywiki-full"
        splits = {
            split: lambda split=split: (a.text for a in tinywiki.articles(split, full)) for split in tinywiki.SPLITS
        }
        return Corpus(f"{data} {tinywiki.VERSION} {tinywiki.SPLITS}", splits)
    if data in HUB_CORPORA:
        splits = {
            split: lambda split=split: split_articles(_hub_lines(data, split))
            for split in ("train", "validation", "test")
        }
        return Corpus(f"{HUB_NAME}/{data}", splits)
    path = Path(data).expanduser()
    if not path.exists():
        names = [*TINYWIKI_CORPORA, *HUB_CORPORA]
        raise FileNotFoundError(f"no file or folder {data!r}, and no corpus of that name{near_names(data, names)}")
    return _file_corpus(path.resolve())


def split_articles(lines: Iterable[str]) -> Iterator[str]:
    """Cut a stream of lines (each with its newline) into documents that, joined, are the same text again."""
    document: list[str] = []
    size = 0
    titled = False
    for before, line, after in _with_neighbours(lines):
        is_title = before == after == "\n" and _TITLE.fullmatch(line) is not None
        is_full = not titled and size >= _PIECE and line.strip()  # blank lines stay with the text before them
        if (is_title or is_full) and any(map(str.strip, document)):
            yield "".join(document)
            document, size = [], 0
        titled = titled or is_title
        document.append(line)
        size += len(line)
    if any(map(str.strip, document)):
        yield "".join(document)


def _with_neighbours(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    # In WikiText's original files a blank line holds one space; on the Hub it is an empty row.
    bare = ("\n" if line in (" \n", "") else line for line in lines)
    before = "\n"
    for line, after in pairwise(chain(bare, ["\n"])):
        yield before, line, after
        before = line


def _hub_lines(name: str, split: str) -> Iterator[str]:
    if os.environ.get("HF_HUB_OFFLINE", "0") in ("0", ""):
        check_reachable(hub_endpoint(), f"{HUB_NAME} {name}", WAYS_OUT)
    import datasets

    try:
        rows = datasets.load_dataset(HUB_NAME, name, split=split)
    except Exception as error:  # datasets raises many kinds; what the user can do about them is the same
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConnectionError(
            f"could not load {HUB_NAME} {name} from {hub_endpoint()} ({reason}); {WAYS_OUT}"
        ) from error
    if "text" not in rows.column_names:
        raise ValueError(f"{HUB_NAME} {name} has no column 'text' but {rows.column_names}; {WAYS_OUT}")
    for batch in rows.iter(batch_size=1000):
        yield from _row_lines(batch["text"], f"{HUB_NAME} {name}")


def _row_lines(rows: Iterable[str | None], source: object) -> Iterator[str]:
    """Rows of a table as lines. WikiText's end in a newline, blank ones aside; other people's may not."""
    for row in rows:
        if not isinstance(row, str | None):
            raise ValueError(f"the column 'text' of {source} holds {type(row).__name__}, not text")
        yield row if row and row.endswith("\n") else f"{row or ''}\n"


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
                yield from _row_lines(batch.column(0).to_pylist(), path)
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


def _file_corpus(path: Path) -> Corpus:
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
