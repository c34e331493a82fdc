"""What learners usually get wrong in notebook 01. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs

from itertools import pairwise

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch01_tokenization import count_pairs, decode, encode, merge

# count_pairs


@mistake(
    count_pairs,
    "Every word counts once here. A word that occurs n times must add n to each of its pairs.",
)
def ignores_the_frequency(words):
    counts: dict[tuple[str, str], int] = {}
    for symbols in words:
        for pair in pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + 1
    return counts


@mistake(
    count_pairs,
    "Your pairs reach from one word into the next, or into another copy of it. Count within each word alone.",
)
def counts_across_copies(words):
    text = [symbol for symbols, frequency in words.items() for symbol in symbols * frequency]
    counts: dict[tuple[str, str], int] = {}
    for pair in pairwise(text):
        counts[pair] = counts.get(pair, 0) + 1
    return counts


@mistake(
    count_pairs,
    "The last symbol of one word is paired with the first of the next. Start again in each word.",
)
def carries_the_last_symbol_over(words):
    counts: dict[tuple[str, str], int] = {}
    previous = None
    for symbols, frequency in words.items():
        for symbol in symbols:
            if previous is not None:
                counts[previous, symbol] = counts.get((previous, symbol), 0) + frequency
            previous = symbol
    return counts


mistake(
    count_pairs,
    "A pair that occurs again loses its old count. Add the frequency to it instead.",
    lambda words: {pair: frequency for symbols, frequency in words.items() for pair in pairwise(symbols)},
)


@mistake(
    count_pairs,
    "A pair that occurs twice in a word counts only once there. Count every occurrence, not every kind of pair.",
)
def counts_a_pair_once_per_word(words):
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for pair in set(pairwise(symbols)):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


@mistake(
    count_pairs,
    "Every second pair is missed. Pairs overlap: a b c contains (a, b) and (b, c).",
)
def steps_by_two(words):
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for pair in zip(symbols[::2], symbols[1::2], strict=False):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


@mistake(
    count_pairs,
    "An index reaches behind the last symbol, which has no neighbour there. A word of n symbols has n - 1 pairs.",
)
def runs_over_the_end(words):
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for index in range(len(symbols)):
            pair = symbols[index], symbols[index + 1]
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


@mistake(
    count_pairs,
    "The last pair of each word is missing. A word of n symbols has n - 1 pairs.",
)
def stops_one_pair_early(words):
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for pair in pairwise(symbols[:-1]):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


@mistake(
    count_pairs,
    "Your keys are the joined strings. A pair is a tuple of two: joined, (a, bc) and (ab, c) would be the same.",
)
def joins_the_pair(words):
    counts: dict[str, int] = {}
    for symbols, frequency in words.items():
        for left, right in pairwise(symbols):
            counts[left + right] = counts.get(left + right, 0) + frequency
    return counts


# merge


@mistake(
    merge,
    "Two pairs that overlap both become new_id: [1, 1, 1] gives it twice. An id belongs to one pair only.",
)
def merges_overlapping_pairs(ids, pair, new_id):
    result = []
    for index, token in enumerate(ids):
        if tuple(ids[index : index + 2]) == pair:
            result.append(new_id)
        elif index == 0 or (ids[index - 1], token) != pair:
            result.append(token)
    return result


@mistake(
    merge,
    "Pairs that overlap become one new_id: with (1, 1), [1, 1, 1] should keep its last 1. An id is in one pair only.",
)
def merges_a_used_id_again(ids, pair, new_id):
    result: list[int] = []
    for index, token in enumerate(ids):
        if index and (ids[index - 1], token) == pair:
            result[-1] = new_id
        else:
            result.append(token)
    return result


@mistake(
    merge,
    "You go from right to left, so of three equal ids the last two are merged: [1, new_id]. Begin at the left.",
)
def merges_from_the_right(ids, pair, new_id):
    return merge(ids[::-1], pair[::-1], new_id)[::-1]


mistake(
    merge,
    "The second id of the pair is still there, behind new_id. Both ids of a pair are replaced.",
    lambda ids, pair, new_id: [new_id if tuple(ids[i : i + 2]) == pair else ids[i] for i in range(len(ids))],
)

mistake(
    merge,
    "The pair is found the wrong way round. pair[0] is on the left, pair[1] follows it.",
    lambda ids, pair, new_id: merge(ids, (pair[1], pair[0]), new_id),
)


@mistake(
    merge,
    "Nothing is merged: your ids are those that came in. Mind that a list, such as a slice of ids, equals no tuple.",
)
def compares_a_list_with_a_tuple(ids, pair, new_id):
    result = []
    index = 0
    while index < len(ids):
        if ids[index : index + 2] == pair:
            result.append(new_id)
            index += 2
        else:
            result.append(ids[index])
            index += 1
    return result


@mistake(
    merge,
    "Only the first pair is replaced. Go on to the end of the list: the pair may come again.",
)
def merges_the_first_only(ids, pair, new_id):
    for index in range(len(ids) - 1):
        if (ids[index], ids[index + 1]) == pair:
            return [*ids[:index], new_id, *ids[index + 2 :]]
    return ids


@mistake(
    merge,
    "The last id is lost when no pair ends there. It has no neighbour, and is copied all the same.",
)
def loses_the_last_id(ids, pair, new_id):
    result = []
    index = 0
    while index < len(ids) - 1:
        if (ids[index], ids[index + 1]) == pair:
            result.append(new_id)
            index += 2
        else:
            result.append(ids[index])
            index += 1
    return result


@mistake(
    merge,
    "An index reaches behind the last id, even where no pair is near. Test first whether a neighbour exists.",
)
def reads_past_the_end(ids, pair, new_id):
    result = []
    index = 0
    while index < len(ids):
        if (ids[index], ids[index + 1]) == pair:
            result.append(new_id)
            index += 2
        else:
            result.append(ids[index])
            index += 1
    return result


@mistake(
    merge,
    "When the last id equals pair[0], an index reaches behind it. Test first whether it has a neighbour.",
)
def reads_past_the_end_at_times(ids, pair, new_id):
    result = []
    index = 0
    while index < len(ids):
        if ids[index] == pair[0] and ids[index + 1] == pair[1]:
            result.append(new_id)
            index += 2
        else:
            result.append(ids[index])
            index += 1
    return result


@mistake(
    merge,
    "The list gets shorter while you walk over it, and the range does not. Build a new list, or use a while loop.",
)
def shortens_the_list_in_the_loop(ids, pair, new_id):
    for index in range(len(ids) - 1):
        if (ids[index], ids[index + 1]) == pair:
            ids[index : index + 2] = [new_id]
    return ids


# encode


@mistake(
    encode,
    "You join the first known pair from the left. Of all known pairs, join the one that comes first in merges.",
)
def goes_from_left_to_right(word, merges):
    parts = [bytes([byte]) for byte in word]
    while known := [index for index, pair in enumerate(pairwise(parts)) if pair in merges]:
        parts[known[0] : known[0] + 2] = [parts[known[0]] + parts[known[0] + 1]]
    return parts


@mistake(
    encode,
    "You pass over the word once, from left to right. The order is that of merges, and joined parts may join again.",
)
def passes_over_the_word_once(word, merges):
    parts = [bytes([byte]) for byte in word]
    index = 0
    while index < len(parts) - 1:
        if (parts[index], parts[index + 1]) in merges:
            parts[index : index + 2] = [parts[index] + parts[index + 1]]
        index += 1
    return parts


@mistake(
    encode,
    "You take the longest token that fits at each position. Length does not count here: join pairs by their rank in "
    "merges.",
)
def takes_the_longest_match(word, merges):
    vocabulary = [left + right for left, right in merges]
    parts = []
    while word:
        parts.append(max((t for t in vocabulary if word.startswith(t)), key=len, default=word[:1]))
        word = word[len(parts[-1]) :]
    return parts


@mistake(
    encode,
    "You join the pair that was learned last. The one that was learned first has the smallest rank.",
)
def takes_the_last_learned_pair(word, merges):
    parts = [bytes([byte]) for byte in word]
    while known := [pair for pair in pairwise(parts) if pair in merges]:
        best = max(known, key=merges.index)
        index = list(pairwise(parts)).index(best)
        parts[index : index + 2] = [best[0] + best[1]]
    return parts


@mistake(
    encode,
    "You join one pair and stop. Joining makes new neighbours: go on until no pair is known.",
)
def joins_once_and_stops(word, merges):
    parts = [bytes([byte]) for byte in word]
    known = [pair for pair in pairwise(parts) if pair in merges]
    if known:
        best = min(known, key=merges.index)
        index = list(pairwise(parts)).index(best)
        parts[index : index + 2] = [best[0] + best[1]]
    return parts


@mistake(
    encode,
    "Each merge is applied only once. Its pair may occur twice in the word: join it there too.",
)
def uses_each_merge_once(word, merges):
    parts = [bytes([byte]) for byte in word]
    for left, right in merges:
        pairs = list(pairwise(parts))
        if (left, right) in pairs:
            index = pairs.index((left, right))
            parts[index : index + 2] = [left + right]
    return parts


@mistake(
    encode,
    "You join whatever makes a known token. The pair itself must be in merges: abc from ab and c is not a and bc.",
)
def joins_whatever_makes_a_token(word, merges):
    ranks = {left + right: rank for rank, (left, right) in enumerate(merges)}
    parts = [bytes([byte]) for byte in word]
    while known := [left + right for left, right in pairwise(parts) if left + right in ranks]:
        best = min(known, key=ranks.__getitem__)
        index = [left + right for left, right in pairwise(parts)].index(best)
        parts[index : index + 2] = [best]
    return parts


@mistake(
    encode,
    "A loop over bytes gives numbers, and no pair of numbers is in merges. Turn each into bytes of length 1 first.",
)
def keeps_the_numbers(word, merges):
    parts = list(word)
    while known := [pair for pair in pairwise(parts) if pair in merges]:
        best = min(known, key=merges.index)
        index = list(pairwise(parts)).index(best)
        parts[index : index + 2] = [best[0] + best[1]]
    return parts


# decode

mistake(
    decode,
    "You decode token by token, and a character cut in two becomes U+FFFD. Join all bytes first, then decode.",
    lambda ids, tokens: "".join(tokens[token_id].decode("utf-8", errors="replace") for token_id in ids),
)

mistake(
    decode,
    'Bad bytes vanish, so nobody sees that something was there. errors="replace" puts U+FFFD in their place.',
    lambda ids, tokens: b"".join(tokens[token_id] for token_id in ids).decode("utf-8", errors="ignore"),
)

mistake(
    decode,
    "Token by token, both halves of a cut character are bad bytes, and you drop them. Join first, and replace.",
    lambda ids, tokens: "".join(tokens[token_id].decode("utf-8", errors="ignore") for token_id in ids),
)

mistake(
    decode,
    "decode raises an error at the first byte that is not UTF-8. Its argument errors says what to do instead.",
    lambda ids, tokens: b"".join(tokens[token_id] for token_id in ids).decode("utf-8"),
)

mistake(
    decode,
    "Half a character in a token of its own cannot be decoded, so it fails. Join the bytes of all tokens first.",
    lambda ids, tokens: "".join(tokens[token_id].decode("utf-8") for token_id in ids),
)

mistake(
    decode,
    "You put spaces between the tokens. They bring their own spaces: join them with nothing between.",
    lambda ids, tokens: b" ".join(tokens[token_id] for token_id in ids).decode("utf-8", errors="replace"),
)

mistake(
    decode,
    "Each byte becomes a character of its own. In UTF-8 a character may take up to four bytes.",
    lambda ids, tokens: "".join(chr(byte) for token_id in ids for byte in tokens[token_id]),
)

mistake(
    decode,
    "str() of bytes shows them as Python writes them, with b and quotes. Use their decode method.",
    lambda ids, tokens: str(b"".join(tokens[token_id] for token_id in ids)),
)

mistake(
    decode,
    "The bytes are joined as they should be, but they are still bytes. One step to text is missing.",
    lambda ids, tokens: b"".join(tokens[token_id] for token_id in ids),
)
