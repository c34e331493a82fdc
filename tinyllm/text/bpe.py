"""Learning byte-pair encoding (BPE): merge the most frequent pair of neighbouring tokens, again and again.

Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016), algorithm 1, on
bytes as in GPT-2.
"""

import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
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
SPACE_CUT = regex.compile(r"(?r)(?<=\S)(?=\s)")
"""Where a word ends by any rule, found from the end of a text: before white space."""
# Text without white space, such as Chinese, is cut where letters, digits and punctuation meet. Only characters that
# every version of Unicode classes alike: this pattern and tiktoken's may have different versions.
_LETTERS, _PUNCTUATION = r"A-Za-zぁ-ゖァ-ヺ一-龥", r"!-&(-/:-@\[-`{-~、。〈-】！-／：-＠"
CUT = regex.compile(
    rf"(?r)(?<=\S)(?=\s)|(?<=[{_LETTERS}])(?=[0-9{_PUNCTUATION}'])|(?<=[0-9])(?=[{_LETTERS}{_PUNCTUATION}'])"
    rf"|(?<=[{_PUNCTUATION}])(?=[0-9{_LETTERS}])"
)
"""Where PATTERN always ends a word, found from the end of a text."""

Pair = tuple[int, int]  # the ids of two neighbouring tokens


def check_text(text: str) -> None:
    """Raise ValueError if `text` contains a lone surrogate, which UTF-8 cannot encode (tiktoken would replace it).

    Raises TypeError if it is no string, as a line of a file opened in binary mode.
    """
    require_string(text)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} of the text is the lone surrogate {text[error.start]!r}, which is not "
            "valid Unicode; read the file with errors='replace', or remove it"
        ) from None


def require_string(text: object) -> None:
    """Raise TypeError if a text is bytes, or anything else that is no string."""
    if not isinstance(text, str):
        raise TypeError(f"a text is a string, and this is {type(text).__name__}; of a file, open it in text mode")


def special_pattern(special_tokens: Collection[str]) -> regex.Pattern[str]:
    """Match any of the special tokens, the longest first: one may begin as another does. None of them: no match."""
    longest_first = sorted(special_tokens, key=len, reverse=True)
    return regex.compile("|".join(map(regex.escape, longest_first)) or r"(?!)")


def whole_words(
    chunks: Iterable[str], special_tokens: Collection[str] = (), cut: regex.Pattern[str] = CUT
) -> Iterator[str]:
    """Cut a text that comes in chunks anew, so that no piece ends within a word or a special token.

    Holds a chunk and the longest word. `cut` finds, from the end, where a word always ends.
    """
    special = special_pattern(special_tokens)
    reach = max([1, *(len(token) - 1 for token in special_tokens)])  # what begins before a cut is seen whole
    rest, enough = "", 0
    for chunk in chunks:
        require_string(chunk)
        rest += chunk
        if len(rest) > max(enough, reach):
            found = cut.search(rest, endpos=len(rest) - reach + 1)
            position = found.end() if found else 0
            for match in special.finditer(rest) if position else ():
                if match.start() < position < match.end():
                    position = match.start()
            if position:
                yield rest[:position]
                rest = rest[position:]
            enough = 2 * len(rest)  # so that a very long word is not searched again with every chunk
    if rest:
        yield rest


def read_pieces(source: str | Path | Iterable[str | Path], special_tokens: Sequence[str] = ()) -> Iterator[str]:
    """Yield the text of `source` in pieces; files are read a chunk at a time, and no word or special token is cut.

    Raises ValueError for strings that are text, but name files.
    """
    texts = [source] if isinstance(source, str) else source
    if isinstance(texts, list | tuple) and texts and all(map(_is_name, texts)):
        raise ValueError(
            f"{texts[0]!r} is a file or folder here, but a string is taken as the text itself: "
            f"to learn from a file, give Path({texts[0]!r})"
        )
    yield from _pieces(source, special_tokens)


def _is_name(text: str | Path) -> bool:
    """Whether this is a string that names a file or folder. One like "." may well be text."""
    if not isinstance(text, str) or len(text) > _LONGEST_PATH or not any(map(str.isalnum, text)):
        return False
    return os.path.exists(user_path(text))  # noqa: PTH110 (Path.exists raises OSError for some texts)


def _pieces(source: str | Path | Iterable[str | Path], special_tokens: Sequence[str]) -> Iterator[str]:
    if isinstance(source, str):
        check_text(source)
        yield source
    elif isinstance(source, Path):
        with user_path(source).open(encoding="utf-8", newline="") as file:
            yield from whole_words(iter(partial(file.read, _CHUNK), ""), special_tokens)
    else:
        for part in source:
            yield from _pieces(part, special_tokens)


def count_words(source: str | Path | Iterable[str | Path], special_tokens: Sequence[str] = ()) -> Counter[bytes]:
    """Count the words (GPT-2's pattern) of a text, as bytes. Special tokens cut the text and are not counted."""
    counts: Counter[str] = Counter()
    special = special_pattern(special_tokens)
    for piece in read_pieces(source, special_tokens):
        for text in special.split(piece):
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
