"""Byte-pair encoding by its definition: every pair counted again at each step. And two texts to try it on."""

from collections import Counter
from itertools import pairwise

import regex
import tiktoken

PROSE = (
    "The lighthouse keeper's daughter didn't sleep. She'd counted 1,234 waves, then 99 more; they've never "
    "been as many since.\n\nIt's 7 o'clock:  the gulls are screaming\tat the keeper's boat...   \n"
) * 3
MIXED = (
    "Ünïcödé naïve café — 東京タワー東京 🙂🙃🙂 Привет, привет! \u0000\u0007 e\u0301e\u0301 नमस्ते 12٣٤\r\n\r\n \u00a0x"
    * 2
)


def gpt2_words(text: str) -> list[bytes]:
    """The words of GPT-2's pre-tokenization, by the pattern that tiktoken publishes."""
    return [word.encode() for word in regex.findall(tiktoken.get_encoding("gpt2")._pat_str, text)]


def replaced(word: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    """Join each `pair` of a word, from left to right."""
    result: list[bytes] = []
    waiting = list(word)
    while waiting:
        if tuple(waiting[:2]) == pair:
            result.append(waiting.pop(0) + waiting.pop(0))
        else:
            result.append(waiting.pop(0))
    return result


def slow_merges(words: list[bytes], count: int) -> tuple[list[tuple[bytes, bytes]], int]:
    """The merges by the definition, and how many of them come before the first that a tie decides."""
    parts = [([bytes([byte]) for byte in word], times) for word, times in Counter(words).items()]
    merges: list[tuple[bytes, bytes]] = []
    before_a_tie = count
    while len(merges) < count:
        counts: Counter[tuple[bytes, bytes]] = Counter()
        for part, times in parts:
            for pair in pairwise(part):
                counts[pair] += times
        if not counts:
            break
        most = max(counts.values())
        best = [pair for pair in counts if counts[pair] == most]
        if len(best) > 1:
            before_a_tie = min(before_a_tie, len(merges))
        merges.append(max(best))
        parts = [(replaced(part, merges[-1]), times) for part, times in parts]
    return merges, min(before_a_tie, len(merges))
