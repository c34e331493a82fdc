"""Exercises of notebook 01: byte-pair encoding by hand."""

import random
from itertools import pairwise

from tinyllm.course.checking.registry import exercise


@exercise(
    cases=lambda: [({("a", "b"): 3},), ({},), *((_words(count),) for count in (2, 3, 5, 8))],
    hint="Go through one word at a time and look at its neighbours. How much is one pair worth in a word that occurs "
    "n times?",
    why="Each word is counted once and weighted, so a long text costs no more than its distinct words. No pair "
    "reaches from one word into the next.",
)
def count_pairs(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    """How often each pair of neighbouring symbols occurs, where a word that occurs n times counts n times."""
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for pair in pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


def _words(count: int) -> dict[tuple[str, ...], int]:
    """The first word has two equal pairs; the others have anything, even a single symbol."""
    words: dict[tuple[str, ...], int] = {("a", "b", "a", "b"): random.randint(2, 9)}
    while len(words) < count:
        words[tuple(random.choices("abcd", k=random.randint(1, 5)))] = random.randint(2, 9)
    return words


@exercise(
    cases=lambda: [
        ([1, 2, 3], (1, 2), 9),
        ([1, 1, 1], (1, 1), 9),
        ([1, 2, 1, 2], (1, 2), 9),
        ([], (1, 2), 9),
        *((random.choices([1, 2, 3], k=length), (random.randint(1, 2), 2), 9) for length in (4, 6, 8, 10, 12)),
    ],
    hint="Keep an index of your own, in a while loop. How far do you step after a pair, and how far otherwise?",
    why="A while loop chooses its own step: two after a pair, one otherwise. So no id is used twice. A slice that is "
    "short, at the end, equals no pair.",
)
def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Replace each `pair` by `new_id`, from left to right: with (1, 1), [1, 1, 1] becomes [new_id, 1]."""
    result: list[int] = []
    index = 0
    while index < len(ids):
        if tuple(ids[index : index + 2]) == pair:
            result.append(new_id)
            index += 2
        else:
            result.append(ids[index])
            index += 1
    return result


@exercise(
    cases=lambda: [
        (b"abc", [(b"b", b"c"), (b"a", b"b")]),
        (b"abc", [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")]),
        (b"abcab", [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")]),
        (b"abc", [(b"b", b"c"), (b"a", b"bc"), (b"a", b"b")]),
        (b"", [(b"a", b"b")]),
        *((bytes(random.choices(b"abc", k=length)), _merges(8)) for length in (1, 4, 6, 8, 10)),
    ],
    hint="Look at all neighbours there are now. Which of them was learned first? Join it, and look again until no "
    "pair is known.",
    why="Learning joined the pairs in this order, so a word is cut as it was cut then. Left to right, or by length, "
    "other tokens would come out.",
)
def encode(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Join neighbours until no pair is among `merges`; at each step the pair that comes first in `merges`."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    parts = [bytes([byte]) for byte in word]
    while known := [pair for pair in pairwise(parts) if pair in ranks]:
        best = min(known, key=ranks.__getitem__)
        index = list(pairwise(parts)).index(best)
        parts[index : index + 2] = [best[0] + best[1]]
    return parts


def _merges(count: int) -> list[tuple[bytes, bytes]]:
    """As learning makes them: both parts exist before, and each merge makes a new token."""
    tokens = [b"a", b"b", b"c"]
    merges: list[tuple[bytes, bytes]] = []
    while len(merges) < count:
        left, right = random.choices(tokens, k=2)
        if left + right not in tokens:
            tokens.append(left + right)
            merges.append((left, right))
    return merges


# The bytes of "é", "€" and "語", cut in two, a byte that occurs in no UTF-8 text, and whole words.
_TOKENS = [b" the", b"caf", b"\xc3", b"\xa9", b"\xe2\x82", b"\xac", b"\xe8", b"\xaa\x9e", b"\xff", b" "]


@exercise(
    cases=lambda: [
        ([0, 9, 1], _TOKENS),
        ([1, 2, 3], _TOKENS),
        ([0, 8, 1], _TOKENS),
        ([], _TOKENS),
        *((random.choices(range(len(_TOKENS)), k=length), _TOKENS) for length in (4, 8, 12)),
    ],
    hint="One character may be spread over two tokens. So what must come first, joining or decoding?",
    why="A token may end in the middle of a character. A model may also write bytes that are no text, and decoding "
    "must not fail then.",
)
def decode(ids: list[int], tokens: list[bytes]) -> str:
    """The text of some ids. Only all the bytes together are UTF-8; invalid ones become U+FFFD ("replace")."""
    return b"".join(tokens[token_id] for token_id in ids).decode("utf-8", errors="replace")
