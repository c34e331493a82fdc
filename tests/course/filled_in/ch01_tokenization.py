"""Other right answers than the references of notebook 01: runs, a bytearray, one pass for each merge."""

from collections import Counter
from itertools import pairwise


def count_pairs(words):
    total = Counter()
    for symbols, frequency in words.items():
        for pair, times in Counter(pairwise(symbols)).items():
            total[pair] += times * frequency
    return total


def merge(ids, pair, new_id):
    """A run of one id twice or more is halved; any other pair is found when its second id comes."""
    merged, index = [], 0
    while index < len(ids):
        run = 1
        while pair[0] == pair[1] == ids[index] and index + run < len(ids) and ids[index + run] == pair[0]:
            run += 1
        if run > 1:
            merged += [new_id] * (run // 2) + [pair[0]] * (run % 2)
        elif pair[0] != pair[1] and merged and merged[-1] == pair[0] and ids[index] == pair[1]:
            merged[-1] = new_id
        else:
            merged.append(ids[index])
        index += run
    return tuple(merged)


def encode(word, merges):
    parts = [word[index : index + 1] for index in range(len(word))]
    for left, right in merges:  # oldest first: a later merge never makes an older one possible
        index = 0
        while index < len(parts) - 1:
            if parts[index] == left and parts[index + 1] == right:
                parts[index] += parts.pop(index + 1)
            index += 1
    return parts


def decode(ids, tokens):
    text = bytearray()
    for token_id in ids:
        text += tokens[token_id]
    return str(text, encoding="utf-8", errors="replace")
