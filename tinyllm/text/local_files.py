"""A corpus from files on this machine: one file, or a folder of files.

A file that is not one of several parts of a split is a text of its own, and each text starts a new document.
"""

import json
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from tinyllm.system.paths import shown_name
from tinyllm.text.corpus import Corpus, Reading
from tinyllm.text.documents import PIECE, split_articles
from tinyllm.text.file_formats import READABLE, TABLES, ending_of, open_text, why_unreadable
from tinyllm.text.folders import Found, find_texts
from tinyllm.text.rows import row_documents
from tinyllm.text.table_files import table_texts
from tinyllm.text.tokenizer import END_OF_TEXT


def local_corpus(path: Path, text_field: str = "text") -> Corpus:
    """A file, which is all training text, or a folder, which may have splits.

    Raises FileNotFoundError for a folder without texts, ValueError for one that is ambiguous and for a file of a kind
    that cannot be read. Reading raises ValueError for a file that is damaged, not UTF-8, or a table without text in
    `text_field`.
    """
    if path.is_dir():
        found = find_texts(path, text_field)
    else:
        _check_readable(path)
        found = Found({"train": [[path]]}, {})
    stats = [(file, file.stat()) for texts in found.splits.values() for text in texts for file in text]
    identity = json.dumps([text_field, *([str(file), stat.st_size, stat.st_mtime_ns] for file, stat in stats)])
    splits = {split: partial(_documents, texts, text_field) for split, texts in found.splits.items()}
    return Corpus(
        identity, splits, reading=_reading(found, path if path.is_dir() else path.parent), watches_itself=True
    )


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"{shown_name(path)} is neither a file nor a folder: write what it gives to a file first")
    reason = why_unreadable(path)
    if reason:
        raise ValueError(f"{shown_name(path)} is {reason}, and cannot be read; {READABLE}")


def _reading(found: Found, folder: Path) -> Reading:
    return Reading(
        {
            split: [shown_name(file.relative_to(folder)) for text in texts for file in text]
            for split, texts in found.splits.items()
        },
        {shown_name(file.relative_to(folder)): reason for file, reason in found.passed_over.items()},
    )


def _documents(texts: list[list[Path]], text_field: str) -> Iterator[str]:
    for files in texts:
        if ending_of(files[0]) in TABLES:
            yield from row_documents(chain.from_iterable(table_texts(file, text_field) for file in files))
        else:
            yield from split_articles(chain.from_iterable(map(_lines, files)))


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file. A line longer than a piece of text comes in several, cut at a space where there is one."""
    with open_text(path) as file:
        rest = ""
        while line := file.readline(PIECE):
            line = rest + line
            rest = ""
            if len(line) >= PIECE and not line.endswith("\n"):
                # some scripts have no spaces; then a separator must not be cut
                cut = line.rfind(" ") + 1 or line.rfind("<", -len(END_OF_TEXT))
                cut = cut if cut > 0 else len(line)
                line, rest = line[:cut], line[cut:]
            yield line
        if rest:
            yield rest
