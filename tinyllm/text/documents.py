"""Where one document ends and the next begins.

A line ` = Title = ` between two blank lines starts a document: WikiText's articles. `<|endoftext|>` ends one, wherever
it stands, as in OpenAI's and TinyStories' files; it is never text itself. Text with neither is one document. To be read
at bounded memory, what is longer than `PIECE` characters and has no title is delivered in pieces cut at line ends, each
of which counts as a document: a separator more in a quarter of a million characters.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

from tinyllm.text.tokenizer import END_OF_TEXT

PIECE = 1 << 18  # characters after which text without titles is cut
_TITLE = re.compile(r" = (?!= ).*(?<! =) = \n")
_BLANK = ("\n", END_OF_TEXT)  # what stands before and after a title


def split_articles(lines: Iterable[str]) -> Iterator[str]:
    """Cut a stream of lines (each with its newline) into documents; joined, they are the text without separators."""
    document: list[str] = []
    size = 0
    titled = False
    for before, line, after in _with_neighbours(_separated(lines)):
        is_end = line == END_OF_TEXT
        is_title = before in _BLANK and after in _BLANK and _TITLE.fullmatch(line) is not None
        is_full = not titled and size >= PIECE and line.strip()  # blank lines stay with the text before them
        if is_end or ((is_title or is_full) and any(map(str.strip, document))):
            if any(map(str.strip, document)):
                yield "".join(document)
            document, size = [], 0
        if is_end:
            titled = False
        else:
            titled = titled or is_title
            document.append(line)
            size += len(line)
    if any(map(str.strip, document)):
        yield "".join(document)


def has_titles(lines: Iterable[str]) -> bool:
    """Whether any line is a title as in WikiText."""
    neighbours = _with_neighbours(lines)
    return any(before == after == "\n" and _TITLE.fullmatch(line) is not None for before, line, after in neighbours)


def _separated(lines: Iterable[str]) -> Iterator[str]:
    """The lines, with each separator as a line of its own, and without the line end that follows it."""
    for line in lines:
        if END_OF_TEXT not in line:
            yield line
            continue
        *texts, last = line.split(END_OF_TEXT)
        for text in texts:
            if text.strip():
                yield text
            yield END_OF_TEXT
        if last.strip():
            yield last


def _with_neighbours(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Each line between the line before and the line after it; the text has a blank line before and after it."""
    # In WikiText's original files a blank line holds one space; on the Hub it is an empty row.
    bare = ("\n" if line in (" \n", "") else line for line in lines)
    before = "\n"
    for line, after in pairwise(chain(bare, ["\n"])):
        yield before, line, after
        before = line
