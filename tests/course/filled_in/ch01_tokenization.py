"""Other right answers than the references of notebook 01: recursion, regular expressions, one pass for each merge."""

from collections import Counter


def count_pairs(words):
    total = Counter()
    for symbols, frequency in words.items():
        for pair, times in Counter(zip(symbols, symbols[1:], strict=False)).items():
            total[pair] += times * frequency
    return total


def merge(ids, pair, new_id):
    merged = []
    rest = iter(ids)
    for token in rest:
        while merged is not None and token == pair[0]:
            following = next(rest, None)
            if following == pair[1]:
                token = new_id
                break
            merged.append(token)
            token = following
        if token is not None:
            merged.append(token)
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
