"""Right answers of notebook 01 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from itertools import pairwise

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch01_tokenization import count_pairs, decode, encode, merge


@form(count_pairs)
def pairs_by_index(words):
    counts = {}
    for symbols, frequency in words.items():
        for index in range(len(symbols) - 1):
            pair = (symbols[index], symbols[index + 1])
            if pair not in counts:
                counts[pair] = 0
            counts[pair] += frequency
    return counts


@form(merge)
def merged_behind(ids, pair, new_id):
    result = []
    index = 0
    while index < len(ids):
        here = ids[index]
        if index + 1 < len(ids) and here == pair[0] and ids[index + 1] == pair[1]:
            result.append(new_id)
            index = index + 2
        else:
            result.append(here)
            index = index + 1
    return result


@form(encode)
def lowest_rank(word, merges):
    parts = [bytes([byte]) for byte in word]
    while len(parts) > 1:
        pairs = list(pairwise(parts))
        ranks = [merges.index(pair) if pair in merges else len(merges) for pair in pairs]
        rank = min(ranks)
        if rank == len(merges):
            break
        index = ranks.index(rank)
        parts = [*parts[:index], parts[index] + parts[index + 1], *parts[index + 2 :]]
    return parts


@form(decode)
def joined_first(ids, tokens):
    joined = b""
    for index in ids:
        joined = joined + tokens[index]
    return joined.decode(errors="replace")
