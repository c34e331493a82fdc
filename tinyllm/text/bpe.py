"""Learning byte-pair encoding (BPE): merge the most frequent pair of neighbouring tokens, again and again.

Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016), algorithm 1, on
bytes as in GPT-2.
"""

import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import regex

from tinyllm.system.paths import user_path

# How GPT-2 cuts text into words before any merge, from its published encoder: contractions, letters, digits,
# other characters, each with at most one space before it, and runs of white space. No merge crosses a cut.
# "++" never backtracks: it cuts the same words, and long runs do not fill the matcher's stack.
PATTERN = r"""'(?:[stmd]|re|ve|ll)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
_WORDS = regex.compile(PATTERN)
_LONGEST_PATH = 4096  # of Linux
_CHUNK = 1 << 20  # characters read from a file at a time

Pair = tuple[int, int]  # the ids of two neighbouring tokens


def check_text(text: str) -> None:
    """Raise ValueError if `text` contains a lone surrogate, which UTF-8 cannot encode (tiktoken would replace it)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} of the text is the lone surrogate {text[error.start]!r}, which is not "
            "valid Unicode; read the file with errors='replace', or remove it"
        ) from None


def read_pieces(source: str | Path | Iterable[str | Path]) -> Iterator[str]:
    """Yield the text of `source` in pieces; files are read a chunk at a time.

    A chunk is cut between a word and the white space after it, where GPT-2's pattern always cuts too. Raises ValueError
    for strings that are text, but name files.
    """
    texts = [source] if isinstance(source, str) else source
    if isinstance(texts, list | tuple) and texts and all(map(_is_name, texts)):
        raise ValueError(
            f"{texts[0]!r} is a file or folder here, but a string is taken as the text itself: "
            f"to learn from a file, give Path({texts[0]!r})"
        )
    yield from _pieces(source)


def _is_name(text: str | Path) -> bool:
    """Whether this is a string that names a file or folder. One like "." may well be text."""
    if not isinstance(text, str) or len(text) > _LONGEST_PATH or not any(map(str.isalnum, text)):
        return False
    return os.path.exists(user_path(text))  # noqa: PTH110 (Path.exists raises OSError for some texts)


def _pieces(source: str | Path | Iterable[str | Path]) -> Iterator[str]:
    if isinstance(source, str):
        check_text(source)
        yield source
    elif isinstance(source, Path):
        rest = ""
        with user_path(source).open(encoding="utf-8", newline="") as file:
            while chunk := file.read(_CHUNK):
                rest += chunk
                last_cut = regex.search(r"(?r)(?<=\S)\s", rest)
                if last_cut:
                    yield rest[: last_cut.start()]
                    rest = rest[last_cut.start() :]
        yield rest
    else:
        for part in source:
            yield from _pieces(part)


def count_words(source: str | Path | Iterable[str | Path], special_tokens: Sequence[str] = ()) -> Counter[bytes]:
    """Count the words (GPT-2's pattern) of a text, as bytes. Special tokens cut the text and are not counted."""
    counts: Counter[str] = Counter()
    special = regex.compile("|".join(map(regex.escape, special_tokens))) if special_tokens else None
    for piece in read_pieces(source):
        for text in special.split(piece) if special else [piece]:
            counts.update(_WORDS.findall(text))
    return Counter({word.encode("utf-8"): count for word, count in counts.items()})


def learn_merges(word_counts: dict[bytes, int], count: int) -> list[tuple[bytes, bytes]]:
    """Learn up to `count` merges, in order. Each joins the most frequent pair of neighbouring tokens.

    Of equally frequent pairs, the lexicographically greater pair of byte strings is merged.
    """
    pairs = _Pairs(word_counts)
    merges: list[tuple[bytes, bytes]] = []
    while len(merges) < count and (pair := pairs.most_frequent()):
        merges.append((pairs.tokens[pair[0]], pairs.tokens[pair[1]]))
        pairs.join(pair)
    return merges


def merge(ids: list[int], pair: Pair, merged: int) -> list[int]:
    """Replace each `pair` in `ids` by `merged`, from left to right."""
    result = []
    index = 0
    while index < len(ids):
        if ids[index] == pair[0] and index + 1 < len(ids) and ids[index + 1] == pair[1]:
            result.append(merged)
            index += 2
        else:
            result.append(ids[index])
            index += 1
    return result


class _Pairs:
    """The words as tokens, how often each pair of neighbours occurs in them, and in which words.

    After a merge, only the words that contain the merged pair are counted again, so a merge costs what it changes.
    """

    def __init__(self, word_counts: dict[bytes, int]):
        self.tokens = [bytes([byte]) for byte in range(256)]
        self.words = [list(word) for word in word_counts]  # each word as token ids, at first its bytes
        self.frequencies = list(word_counts.values())
        self.counts: Counter[Pair] = Counter()
        self.words_with: defaultdict[Pair, set[int]] = defaultdict(set)  # indices into `words`
        for index, word in enumerate(self.words):
            for pair in pairwise(word):
                self.counts[pair] += self.frequencies[index]
                self.words_with[pair].add(index)
        self.descending = [_descending(token) for token in self.tokens]
        self.queue = [self._entry(pair) for pair in self.counts]
        heapq.heapify(self.queue)

    def most_frequent(self) -> Pair | None:
        """The pair to merge next; None if no pair is left."""
        while self.queue:
            negative_count, _, _, pair = heapq.heappop(self.queue)
            if 0 < -negative_count == self.counts[pair]:
                return pair  # any other entry is outdated: its pair has been counted again since
        return None

    def join(self, pair: Pair) -> None:
        """Make `pair` one token, everywhere."""
        merged = len(self.tokens)
        self.tokens.append(self.tokens[pair[0]] + self.tokens[pair[1]])
        self.descending.append(_descending(self.tokens[merged]))
        changes: defaultdict[Pair, int] = defaultdict(int)
        for index in self.words_with.pop(pair):
            before = self.words[index]
            after = self.words[index] = merge(before, pair, merged)
            for old in pairwise(before):
                changes[old] -= self.frequencies[index]
            for new in pairwise(after):
                changes[new] += self.frequencies[index]
                if merged in new:
                    self.words_with[new].add(index)
        for changed, change in changes.items():
            if change:  # most pairs of these words are as frequent as before
                self.counts[changed] += change
                heapq.heappush(self.queue, self._entry(changed))

    def _entry(self, pair: Pair) -> tuple[int, str, str, Pair]:
        """A heap returns its smallest entry first, so the count is negative and the bytes sort in descending order."""
        return -self.counts[pair], self.descending[pair[0]], self.descending[pair[1]], pair


def _descending(token: bytes) -> str:
    """A key that sorts byte strings in descending order.

    Each byte becomes 255 - byte; a final 256 puts a longer string before its own beginning.
    """
    return "".join(chr(255 - byte) for byte in token) + chr(256)
