"""Exercises of notebook 01: byte-pair encoding by hand."""

import random
from itertools import pairwise

from tinyllm.exercises.checking import exercise


@exercise(cases=lambda: [({("a", "b"): 3},), ({},), *((_words(number),) for number in (2, 3, 5, 8))])
def count_pairs(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    """How often each pair of neighbouring symbols occurs, where a word that occurs n times counts n times."""
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for pair in pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


def _words(number: int) -> dict[tuple[str, ...], int]:
    """The first word has two equal pairs, the others anything, also a single symbol."""
    words = {("a", "b", "a", "b"): random.randint(2, 9)}
    while len(words) < number:
        words[tuple(random.choices("abcd", k=random.randint(1, 5)))] = random.randint(2, 9)
    return words


@exercise(
    cases=lambda: [
        ([1, 2, 3], (1, 2), 9),
        ([1, 1, 1], (1, 1), 9),
        ([], (1, 2), 9),
        *((random.choices([1, 2, 3], k=length), (random.randint(1, 2), 2), 9) for length in (4, 6, 8, 10, 12)),
    ]
)
def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Replace each `pair` by `new_id`, from left to right: with (1, 1), [1, 1, 1] becomes [new_id, 1]."""
    result = []
    place = 0
    while place < len(ids):
        if tuple(ids[place : place + 2]) == pair:
            result.append(new_id)
            place += 2
        else:
            result.append(ids[place])
            place += 1
    return result


@exercise(
    cases=lambda: [
        (b"abc", [(b"b", b"c"), (b"a", b"b")]),
        (b"abc", [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")]),
        (b"", [(b"a", b"b")]),
        *((bytes(random.choices(b"abc", k=length)), _merges(8)) for length in (1, 4, 6, 8, 10)),
    ]
)
def encode(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Join neighbours until no pair is among `merges`; at each step the pair that stands first in `merges`."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    parts = [bytes([byte]) for byte in word]
    while known := [pair for pair in pairwise(parts) if pair in ranks]:
        best = min(known, key=ranks.__getitem__)
        place = list(pairwise(parts)).index(best)
        parts[place : place + 2] = [best[0] + best[1]]
    return parts


def _merges(number: int) -> list[tuple[bytes, bytes]]:
    """As learning makes them: both parts exist before, and each merge makes a token that was not there."""
    tokens, merges = [b"a", b"b", b"c"], []
    while len(merges) < number:
        left, right = random.choices(tokens, k=2)
        if left + right not in tokens:
            tokens.append(left + right)
            merges.append((left, right))
    return merges


# The bytes of "é", "€" and "語", cut in two, a byte that stands in no UTF-8 text, and whole words.
_TOKENS = [b" the", b"caf", b"\xc3", b"\xa9", b"\xe2\x82", b"\xac", b"\xe8", b"\xaa\x9e", b"\xff", b" "]


@exercise(
    cases=lambda: [
        ([0, 9, 1], _TOKENS),
        ([1, 2, 3], _TOKENS),
        ([0, 8, 1], _TOKENS),
        ([], _TOKENS),
        *((random.choices(range(len(_TOKENS)), k=length), _TOKENS) for length in (4, 8, 12)),
    ]
)
def decode(ids: list[int], tokens: list[bytes]) -> str:
    """The text of some ids. Only all bytes together are UTF-8; those that are not become U+FFFD ("replace")."""
    return b"".join(tokens[token_id] for token_id in ids).decode("utf-8", errors="replace")
