"""Where one document ends and the next begins.

WikiText's articles are the documents: a line ` = Title = ` between two blank lines starts one. Text without such
titles is cut at line ends into pieces of about 10,000 characters.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

_TITLE = re.compile(r" = (?!= ).*(?<! =) = \n")
_PIECE = 10_000  # characters after which text without titles is cut


def split_articles(lines: Iterable[str]) -> Iterator[str]:
    """Cut a stream of lines (each with its newline) into documents; joined, they are the same text."""
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
    """Each line between the line before and the line after it; the text has a blank line before and after it."""
    # In WikiText's original files a blank line holds one space; on the Hub it is an empty row.
    bare = ("\n" if line in (" \n", "") else line for line in lines)
    before = "\n"
    for line, after in pairwise(chain(bare, ["\n"])):
        yield before, line, after
        before = line
