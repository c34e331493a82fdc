"""Exercises of notebook 01: byte-pair encoding by hand."""

import random
from itertools import pairwise

from tinyllm.course.checking.checking import exercise, mistake


@exercise(
    cases=lambda: [({("a", "b"): 3},), ({},), *((_words(number),) for number in (2, 3, 5, 8))],
    hint="Go through one word at a time and look at its neighbours. How much is one pair worth in a word that occurs "
    "n times?",
    why="Each word is counted once and weighted, so a long text costs no more than its different words. No pair "
    "reaches from one word into the next.",
)
def count_pairs(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    """How often each pair of neighbouring symbols occurs, where a word that occurs n times counts n times."""
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for pair in pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


@mistake(count_pairs, "Every word counts once here. A word that occurs n times must add n to each of its pairs.")
def ignores_the_frequency(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for symbols in words:
        for pair in pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + 1
    return counts


@mistake(
    count_pairs,
    "You write the words out one after another, so pairs reach across two words. Count within each word alone.",
)
def counts_across_copies(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    text = [symbol for symbols, frequency in words.items() for symbol in symbols * frequency]
    counts: dict[tuple[str, str], int] = {}
    for pair in pairwise(text):
        counts[pair] = counts.get(pair, 0) + 1
    return counts


@mistake(
    count_pairs,
    "The last symbol of one word is paired with the first of the next. Start afresh in each word.",
)
def carries_the_last_symbol_over(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    previous = None
    for symbols, frequency in words.items():
        for symbol in symbols:
            if previous is not None:
                counts[previous, symbol] = counts.get((previous, symbol), 0) + frequency
            previous = symbol
    return counts


@mistake(
    count_pairs,
    "A pair that is met again loses its old count. Add the frequency to what is there already.",
)
def overwrites_the_count(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    return {pair: frequency for symbols, frequency in words.items() for pair in pairwise(symbols)}


@mistake(
    count_pairs,
    "A pair that stands twice in a word counts only once there. Count each place, not each kind of pair.",
)
def counts_a_pair_once_per_word(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for pair in set(pairwise(symbols)):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


@mistake(
    count_pairs,
    "You move on by two symbols, so every second pair is missed. Pairs overlap: a b c holds (a, b) and (b, c).",
)
def steps_by_two(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for pair in zip(symbols[::2], symbols[1::2], strict=False):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


@mistake(
    count_pairs, "You look for a neighbour of the last symbol, and it has none. A word of n symbols has n - 1 pairs."
)
def runs_over_the_end(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for place in range(len(symbols)):
            pair = symbols[place], symbols[place + 1]
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


@mistake(count_pairs, "The last pair of each word is missing: your loop ends one place early.")
def stops_one_pair_early(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for symbols, frequency in words.items():
        for pair in pairwise(symbols[:-1]):
            counts[pair] = counts.get(pair, 0) + frequency
    return counts


@mistake(
    count_pairs,
    "Your keys are the joined strings. A pair is a tuple of two: joined, (a, bc) and (ab, c) would be the same.",
)
def joins_the_pair(words: dict[tuple[str, ...], int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for symbols, frequency in words.items():
        for left, right in pairwise(symbols):
            counts[left + right] = counts.get(left + right, 0) + frequency
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
        ([1, 2, 1, 2], (1, 2), 9),
        ([], (1, 2), 9),
        *((random.choices([1, 2, 3], k=length), (random.randint(1, 2), 2), 9) for length in (4, 6, 8, 10, 12)),
    ],
    hint="Walk along with a place of your own, in a while loop. How far do you step after a pair, and how far "
    "otherwise?",
    why="A while loop chooses its own step: two after a pair, one otherwise. So no id is used twice. A slice that is "
    "short, at the end, equals no pair.",
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


@mistake(
    merge,
    "Two pairs that overlap both become new_id. An id belongs to one pair only: after a pair, step over both of its "
    "ids.",
)
def merges_overlapping_pairs(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    result = []
    for place, token in enumerate(ids):
        if tuple(ids[place : place + 2]) == pair:
            result.append(new_id)
        elif place == 0 or (ids[place - 1], token) != pair:
            result.append(token)
    return result


@mistake(
    merge,
    "An id that was merged already is used for the next pair: [1, 1, 1] loses one. After a pair, begin afresh behind "
    "it.",
)
def merges_a_used_id_again(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    result = []
    for place, token in enumerate(ids):
        if place and (ids[place - 1], token) == pair:
            result[-1] = new_id
        else:
            result.append(token)
    return result


@mistake(merge, "The second id of the pair stays behind new_id. After a pair, step on by two places, not one.")
def keeps_the_second_id(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    return [new_id if tuple(ids[i : i + 2]) == pair else ids[i] for i in range(len(ids))]


@mistake(merge, "You look for the pair the wrong way round. pair[0] stands on the left, pair[1] follows it.")
def reverses_the_pair(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    return merge(ids, (pair[1], pair[0]), new_id)


@mistake(
    merge,
    "Nothing is merged. A slice of ids is a list and `pair` a tuple: the two are never equal. Convert one.",
)
def compares_a_list_with_a_tuple(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    result = []
    place = 0
    while place < len(ids):
        if ids[place : place + 2] == pair:
            result.append(new_id)
            place += 2
        else:
            result.append(ids[place])
            place += 1
    return result


@mistake(merge, "Only the first pair is replaced. Go on to the end of the list: the pair may come again.")
def merges_the_first_only(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    for place in range(len(ids) - 1):
        if (ids[place], ids[place + 1]) == pair:
            return [*ids[:place], new_id, *ids[place + 2 :]]
    return ids


@mistake(
    merge,
    "The last id is lost when no pair ends there. Your loop stops before it: copy what is left over.",
)
def loses_the_last_id(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    result = []
    place = 0
    while place < len(ids) - 1:
        if (ids[place], ids[place + 1]) == pair:
            result.append(new_id)
            place += 2
        else:
            result.append(ids[place])
            place += 1
    return result


@mistake(
    merge,
    "At the last id you still read ids[place + 1], and nothing is there. First test whether a neighbour exists.",
)
def reads_past_the_end(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    result = []
    place = 0
    while place < len(ids):
        if (ids[place], ids[place + 1]) == pair:
            result.append(new_id)
            place += 2
        else:
            result.append(ids[place])
            place += 1
    return result


@mistake(
    merge,
    "When the last id equals pair[0], you read past the end for its neighbour. Test first whether there is one.",
)
def reads_past_the_end_at_times(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    result = []
    place = 0
    while place < len(ids):
        if ids[place] == pair[0] and ids[place + 1] == pair[1]:
            result.append(new_id)
            place += 2
        else:
            result.append(ids[place])
            place += 1
    return result


@mistake(
    merge,
    "The list gets shorter while you walk over it, and the range does not. Build a new list, or use a while loop.",
)
def shortens_the_list_in_the_loop(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    for place in range(len(ids) - 1):
        if (ids[place], ids[place + 1]) == pair:
            ids[place : place + 2] = [new_id]
    return ids


@exercise(
    cases=lambda: [
        (b"abc", [(b"b", b"c"), (b"a", b"b")]),
        (b"abc", [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")]),
        (b"abcab", [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")]),
        (b"abc", [(b"b", b"c"), (b"a", b"bc"), (b"a", b"b")]),
        (b"", [(b"a", b"b")]),
        *((bytes(random.choices(b"abc", k=length)), _merges(8)) for length in (1, 4, 6, 8, 10)),
    ],
    hint="Look at all neighbours there are now. Which of them was learned first? Join it, and look again until no pair "
    "is known.",
    why="Learning joined the pairs in this order, so a word is cut as it was cut then. Left to right, or by length, "
    "other tokens would come out.",
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


@mistake(
    encode,
    "You join the first known pair from the left. Of all known pairs, join the one that stands first in merges.",
)
def goes_from_left_to_right(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    parts = [bytes([byte]) for byte in word]
    while known := [place for place, pair in enumerate(pairwise(parts)) if pair in merges]:
        parts[known[0] : known[0] + 2] = [parts[known[0]] + parts[known[0] + 1]]
    return parts


@mistake(
    encode,
    "You pass over the word once, from left to right. The order is that of merges, and joined parts may join again.",
)
def passes_over_the_word_once(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    parts = [bytes([byte]) for byte in word]
    place = 0
    while place < len(parts) - 1:
        if (parts[place], parts[place + 1]) in merges:
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        place += 1
    return parts


@mistake(
    encode,
    "You take the longest token that fits at each place. Length does not count here: join pairs by their rank in "
    "merges.",
)
def takes_the_longest_match(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    vocabulary = [left + right for left, right in merges]
    parts = []
    while word:
        parts.append(max((t for t in vocabulary if word.startswith(t)), key=len, default=word[:1]))
        word = word[len(parts[-1]) :]
    return parts


@mistake(encode, "You join the pair that was learned last. The one that was learned first has the smallest rank.")
def takes_the_last_learned_pair(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    parts = [bytes([byte]) for byte in word]
    while known := [pair for pair in pairwise(parts) if pair in merges]:
        best = max(known, key=merges.index)
        place = list(pairwise(parts)).index(best)
        parts[place : place + 2] = [best[0] + best[1]]
    return parts


@mistake(encode, "You join one pair and stop. Joining makes new neighbours: go on until no pair is known.")
def joins_once_and_stops(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    parts = [bytes([byte]) for byte in word]
    known = [pair for pair in pairwise(parts) if pair in merges]
    if known:
        best = min(known, key=merges.index)
        place = list(pairwise(parts)).index(best)
        parts[place : place + 2] = [best[0] + best[1]]
    return parts


@mistake(encode, "Each merge is used at one place only. Its pair may stand in the word twice: join it there too.")
def uses_each_merge_once(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    parts = [bytes([byte]) for byte in word]
    for left, right in merges:
        pairs = list(pairwise(parts))
        if (left, right) in pairs:
            place = pairs.index((left, right))
            parts[place : place + 2] = [left + right]
    return parts


@mistake(
    encode,
    "You join whatever makes a known token. The pair itself must be in merges: abc from ab and c is not a and bc.",
)
def joins_whatever_makes_a_token(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    ranks = {left + right: rank for rank, (left, right) in enumerate(merges)}
    parts = [bytes([byte]) for byte in word]
    while known := [left + right for left, right in pairwise(parts) if left + right in ranks]:
        best = min(known, key=ranks.__getitem__)
        place = [left + right for left, right in pairwise(parts)].index(best)
        parts[place : place + 2] = [best]
    return parts


@mistake(
    encode,
    "A loop over bytes gives numbers, and no pair of numbers is in merges. Make each a bytes of length 1 first.",
)
def keeps_the_numbers(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[int]:
    parts = list(word)
    while known := [pair for pair in pairwise(parts) if pair in merges]:
        best = min(known, key=merges.index)
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
    ],
    hint="One character may be spread over two tokens. So what has to come first, joining or decoding?",
    why="A token may end in the middle of a character. A model may also write bytes that are no text, and "
    "decoding must not fail then.",
)
def decode(ids: list[int], tokens: list[bytes]) -> str:
    """The text of some ids. Only all bytes together are UTF-8; those that are not become U+FFFD ("replace")."""
    return b"".join(tokens[token_id] for token_id in ids).decode("utf-8", errors="replace")


@mistake(
    decode,
    "You decode token by token, and a character cut in two becomes U+FFFD. Join all bytes first, then decode.",
)
def decodes_one_by_one(ids: list[int], tokens: list[bytes]) -> str:
    return "".join(tokens[token_id].decode("utf-8", errors="replace") for token_id in ids)


@mistake(
    decode,
    'Bad bytes vanish, so nobody sees that something was there. errors="replace" leaves U+FFFD in their place.',
)
def drops_bad_bytes(ids: list[int], tokens: list[bytes]) -> str:
    return b"".join(tokens[token_id] for token_id in ids).decode("utf-8", errors="ignore")


@mistake(
    decode,
    "Token by token, both halves of a cut character are bad bytes, and you drop them. Join first, and replace.",
)
def drops_halves_of_characters(ids: list[int], tokens: list[bytes]) -> str:
    return "".join(tokens[token_id].decode("utf-8", errors="ignore") for token_id in ids)


@mistake(
    decode,
    "decode raises an error at the first byte that is not UTF-8. Its argument errors says what to do instead.",
)
def fails_on_bad_bytes(ids: list[int], tokens: list[bytes]) -> str:
    return b"".join(tokens[token_id] for token_id in ids).decode("utf-8")


@mistake(
    decode,
    "Half a character in a token of its own cannot be decoded, so it fails. Join the bytes of all tokens first.",
)
def fails_on_half_a_character(ids: list[int], tokens: list[bytes]) -> str:
    return "".join(tokens[token_id].decode("utf-8") for token_id in ids)


@mistake(decode, "You put spaces between the tokens. They bring their own spaces: join them with nothing between.")
def puts_spaces_between(ids: list[int], tokens: list[bytes]) -> str:
    return b" ".join(tokens[token_id] for token_id in ids).decode("utf-8", errors="replace")


@mistake(decode, "Each byte becomes a character of its own. In UTF-8 a character may take up to four bytes.")
def takes_a_byte_for_a_character(ids: list[int], tokens: list[bytes]) -> str:
    return "".join(chr(byte) for token_id in ids for byte in tokens[token_id])


@mistake(decode, "str() of bytes shows them as Python writes them, with b and quotes. Use their decode method.")
def writes_bytes_as_python_does(ids: list[int], tokens: list[bytes]) -> str:
    return str(b"".join(tokens[token_id] for token_id in ids))


@mistake(decode, "The bytes are joined as they should be, but they are still bytes. One step to text is missing.")
def returns_the_bytes(ids: list[int], tokens: list[bytes]) -> bytes:
    return b"".join(tokens[token_id] for token_id in ids)
