"""Exercises of notebook 01: byte-pair encoding by hand."""

import random
from itertools import pairwise
from typing import Any

from tinyllm.course.checking.generators import token_lists
from tinyllm.course.checking.registry import exercise


@exercise(
    cases=lambda: [
        ({("a", "b"): 3, ("c", "d", "a"): 1},),
        ({},),
        ({("low",): 5, ("e", "r"): 2},),  # a word of one symbol has no pair
        *((_words(count, symbols),) for count, symbols in zip((2, 3, 5, 8, 6), _SYMBOLS, strict=True)),
    ],
    hint="Go through one word at a time and look at its neighbours. How much is one pair worth in a word that occurs "
    "n times?",
    why="Each word is counted once and weighted, so a long text costs no more than its distinct words. No pair "
    "reaches from one word into the next.",
)
def count_pairs(words: dict[tuple[Any, ...], int]) -> dict[tuple[Any, Any], int]:
    """How often each pair of neighbouring symbols occurs, where a word that occurs n times counts n times."""
    counts: dict[tuple[Any, Any], int] = {}
    for symbols, frequency in words.items():
        for pair in pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


# What symbols may be: letters, longer strings that join to the same text in two ways, bytes, and ids.
_SYMBOLS: tuple[list[Any], ...] = (
    list("abcd"), ["a", "b", "ab", "ba"], ["lo", "w", "low", "est"], [b"a", b"b", b"\xc3", b"ab"], [0, 97, 256, 1023],
)  # fmt: skip


def _words(count: int, symbols: list[Any]) -> dict[tuple[Any, ...], int]:
    """The first word has two equal pairs, the second a symbol thrice; the others have anything, even one symbol."""
    first, second, *_ = symbols
    words = {(first, second) * 2: random.randint(2, 30), (first,) * 3: random.randint(1, 9)}
    while len(words) < count:
        words[tuple(random.choices(symbols, k=random.randint(1, 6)))] = random.randint(1, 2000)
    return words


@exercise(
    cases=lambda: [
        ([1, 2, 3], (1, 2), 9),
        ([1, 1, 1], (1, 1), 4),
        ([1, 2, 1, 2], (1, 2), 0),  # ids need not be learned in any order
        ([], (1, 2), 9),
        ([97], (97, 98), 256),
        ([97, 98], (97, 98), random.randint(256, 999)),
        ([300, 12, 300, 300, 300, 300], (300, 300), 1023),
        ([5, 5, 5, 12, 5, 5, 5, 5, 5], (5, 5), 300),  # an odd number in a row: from the right, others are left over
        *(_merge_case(length) for length in (4, 6, 8, 10, 12, 40)),
        *((ids, (1, 2), 5) for ids in token_lists((1, 2))),
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


def _merge_case(length: int) -> tuple[list[int], tuple[int, int], int]:
    """Three ids, of one digit or of several, and a pair of two different ones or of one twice."""
    known = random.sample(range(random.choice([10, 300])), 3)
    return random.choices(known, k=length), (random.choice(known[:2]), known[1]), random.randint(300, 50_000)


@exercise(
    cases=lambda: [
        (b"abc", [(b"b", b"c"), (b"a", b"b")]),
        (b"abc", [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")]),
        (b"abcab", [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")]),
        (b"abc", [(b"b", b"c"), (b"a", b"bc"), (b"a", b"b")]),
        (b"abcab", [(b"c", b"a"), (b"a", b"b"), (b"ab", b"ca")]),
        (b"aaaaa", [(b"a", b"a"), (b"aa", b"aa")]),
        (b"", [(b"a", b"b")]),
        (b"ab", []),
        *((bytes(random.choices(b"abc", k=length)), _merges(8)) for length in (1, 2, 4, 6, 8, 10, 16)),
        ("é語".encode(), [(b"\xc3", b"\xa9"), (b"\xaa", b"\x9e"), (b"\xe8", b"\xaa\x9e")]),
        ("a語é".encode() + b"\xff", [(b"\xaa", b"\x9e"), (b"a", b"\xe8")]),  # bytes that make no character
    ],
    hint="Look at all neighbours there are now. Which of them was learned first? Join it, and look again until no "
    "pair is known.",
    why="Learning joined the pairs in this order, so a word is cut as it was cut then. Left to right, by length, or "
    "by the joined bytes alone, other tokens would come out.",
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


# The bytes of "é", "€" and "語", cut in two, a byte that occurs in no UTF-8 text, whole words, and a line's two ends.
_TOKENS = [
    b" the", b"caf", b"\xc3", b"\xa9", b"\xe2\x82", b"\xac", b"\xe8", b"\xaa\x9e", b"\xff", b" ", b"\n", b" \t",
]  # fmt: skip


@exercise(
    cases=lambda: [
        *(_text_case(parts) for parts in ([0, 9, 1], [1, 2, 3], [0, 8, 1], [], [4], [10, 0, 11], [0, 0, 6, 7, 7])),
        *(_text_case(random.choices(range(len(_TOKENS)), k=length)) for length in (4, 8, 12, 12)),
        ([1, 256, 300, 0, 256], [bytes([byte]) for byte in range(256)] + random.sample(_TOKENS, 12) * 5),
    ],
    hint="One character may be spread over two tokens. So what must come first, joining or decoding?",
    why="A token may end in the middle of a character. A model may also write bytes that are no text, and decoding "
    "must not fail then.",
)
def decode(ids: list[int], tokens: list[bytes]) -> str:
    """The text of some ids. Only all the bytes together are UTF-8; invalid ones become U+FFFD ("replace")."""
    return b"".join(tokens[token_id] for token_id in ids).decode("utf-8", errors="replace")


def _text_case(parts: list[int]) -> tuple[list[int], list[bytes]]:
    """Ids that stand for these of `_TOKENS`, in a vocabulary of another order."""
    tokens = random.sample(_TOKENS, len(_TOKENS))
    return [tokens.index(_TOKENS[part]) for part in parts], tokens
