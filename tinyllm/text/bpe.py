"""Learning byte-pair encoding: join the most frequent pair of neighbours, again and again.

Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016), algorithm 1, on
bytes as in GPT-2.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import regex

# How GPT-2 cuts text into words before any merge, from its published encoder: contractions, letters, digits,
# other signs, each with at most one space before it, and runs of white space. No merge crosses a cut.
# "++" never gives back what it took: it cuts the same words, and long runs do not fill the matcher's stack.
PATTERN = r"""'(?:[stmd]|re|ve|ll)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
_WORDS = regex.compile(PATTERN)
_CHUNK = 1 << 20  # characters read from a file at a time


def check_text(text: str) -> None:
    """Raise ValueError if `text` holds a lone surrogate, which no UTF-8 text can (tiktoken would replace it)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} of the text is the lone surrogate {text[error.start]!r}, which is not "
            "valid Unicode; read the file with errors='replace', or remove it"
        ) from None


def read_pieces(source: str | Path | Iterable[str | Path]) -> Iterator[str]:
    """Yield the text of `source` in pieces, files a chunk at a time.

    A chunk is cut between a word and the white space behind it: GPT-2's pattern always cuts there too.
    """
    if isinstance(source, str):
        check_text(source)
        yield source
    elif isinstance(source, Path):
        rest = ""
        with source.open(encoding="utf-8", newline="") as file:
            while chunk := file.read(_CHUNK):
                rest += chunk
                last_cut = regex.search(r"(?r)(?<=\S)\s", rest)
                if last_cut:
                    yield rest[: last_cut.start()]
                    rest = rest[last_cut.start() :]
        yield rest
    else:
        for part in source:
            yield from read_pieces(part)


def count_words(source: str | Path | Iterable[str | Path], special_tokens: Sequence[str] = ()) -> Counter[bytes]:
    """Count the words (GPT-2's pattern) of a text, as bytes. Special tokens cut the text and are not counted."""
    counts: Counter[str] = Counter()
    special = regex.compile("|".join(map(regex.escape, special_tokens))) if special_tokens else None
    for piece in read_pieces(source):
        for text in special.split(piece) if special else [piece]:
            counts.update(_WORDS.findall(text))
    return Counter({word.encode("utf-8"): count for word, count in counts.items()})


def learn_merges(word_counts: dict[bytes, int], number: int) -> list[tuple[bytes, bytes]]:
    """Learn up to `number` merges; equally frequent pairs: the lexicographically greater pair of byte strings.

    Only the words that hold the merged pair are counted again, so a merge costs what it changes.
    """
    tokens = [bytes([byte]) for byte in range(256)]
    words = [list(word) for word in word_counts]  # each word as token ids
    frequencies = list(word_counts.values())
    pair_counts: Counter[tuple[int, int]] = Counter()
    words_with: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for place, word in enumerate(words):
        for pair in pairwise(word):
            pair_counts[pair] += frequencies[place]
            words_with[pair].add(place)

    # A heap gives its smallest entry first. So counts are negative, and bytes are turned around: 255 - byte, and
    # a 256 at the end, because a longer string is greater than its own beginning.
    reversed_order = [_reversed_order(token) for token in tokens]

    def entry(pair: tuple[int, int]) -> tuple:
        return -pair_counts[pair], reversed_order[pair[0]], reversed_order[pair[1]], pair

    heap = [entry(pair) for pair in pair_counts]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < number:
        negative_count, _, _, pair = heapq.heappop(heap)
        if -negative_count != pair_counts[pair]:
            continue  # an old entry: this pair was counted again since
        if not negative_count:
            break
        merged = len(tokens)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        reversed_order.append(_reversed_order(tokens[merged]))
        merges.append((tokens[pair[0]], tokens[pair[1]]))
        changes: defaultdict[tuple[int, int], int] = defaultdict(int)
        for place in words_with.pop(pair):
            before = words[place]
            after = words[place] = merge(before, pair, merged)
            frequency = frequencies[place]
            for old in pairwise(before):
                changes[old] -= frequency
            for new in pairwise(after):
                changes[new] += frequency
                if merged in new:
                    words_with[new].add(place)
        for other, change in changes.items():
            if change:  # most pairs of these words are as many as before
                pair_counts[other] += change
                if pair_counts[other]:
                    heapq.heappush(heap, entry(other))
                else:
                    del pair_counts[other]
    return merges


def merge(ids: list[int], pair: tuple[int, int], merged: int) -> list[int]:
    """Replace each `pair` in `ids` by `merged`, from left to right."""
    result = []
    place = 0
    while place < len(ids):
        if ids[place] == pair[0] and place + 1 < len(ids) and ids[place + 1] == pair[1]:
            result.append(merged)
            place += 2
        else:
            result.append(ids[place])
            place += 1
    return result


def _reversed_order(token: bytes) -> str:
    return "".join(chr(255 - byte) for byte in token) + chr(256)
