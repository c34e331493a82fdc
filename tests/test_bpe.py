"""Byte-pair encoding: our incremental training against one that counts everything again at each step."""

import base64
import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import regex
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tinyllm import SubWordTokenizer
from tinyllm.text import bpe
from tinyllm.text.bpe import count_words, learn_merges

END = "<|endoftext|>"
PROPERTY = settings(max_examples=150, deadline=None, database=None, derandomize=True)
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


def slow_merges(words: list[bytes], number: int) -> tuple[list[tuple[bytes, bytes]], int]:
    """The merges by the definition, and how many of them come before the first that a tie decides."""
    parts = [([bytes([byte]) for byte in word], times) for word, times in Counter(words).items()]
    merges: list[tuple[bytes, bytes]] = []
    before_a_tie = number
    while len(merges) < number:
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


def our_merges(text: str, number: int) -> list[tuple[bytes, bytes]]:
    return learn_merges(count_words(text), number)


@pytest.mark.parametrize(
    "text", [PROSE, MIXED, "low lower lowest newer newest wider " * 4], ids=["prose", "mixed", "low"]
)
def test_merges_equal_a_slow_and_obvious_implementation(text):
    wanted, _ = slow_merges(gpt2_words(text), 300)
    assert len(wanted) > 15
    assert our_merges(text, 300) == wanted
    assert our_merges(text, 10) == wanted[:10]


@PROPERTY
@given(st.text(alphabet="ab", max_size=40), st.text(alphabet="aab \n'sé🙂1", max_size=60))
def test_merges_equal_the_slow_ones_for_any_text(repetitive, mixed):
    for text in (repetitive, mixed, repetitive + " " + mixed):
        assert our_merges(text, 60) == slow_merges(gpt2_words(text), 60)[0]


@PROPERTY
@given(st.dictionaries(st.text(alphabet="abc", min_size=1, max_size=12), st.integers(1, 5), max_size=8))
def test_a_word_counts_as_often_as_it_stands_in_the_text(frequencies):
    repeated = [word.encode() for word, count in frequencies.items() for _ in range(count)]
    word_counts = {word.encode(): count for word, count in frequencies.items()}
    assert learn_merges(word_counts, 40) == slow_merges(repeated, 40)[0]


@pytest.mark.parametrize("length", range(2, 14))
def test_overlapping_pairs_merge_from_the_left(length):
    word = b"a" * length
    assert learn_merges({word: 1}, 20) == slow_merges([word], 20)[0]


def test_equal_counts_go_to_the_greater_pair():
    """Byte strings compare as in a dictionary: a longer one is greater than its own beginning."""
    assert learn_merges({b"ab": 2, b"ba": 2, b"ac": 2}, 3) == [(b"b", b"a"), (b"a", b"c"), (b"a", b"b")]
    assert learn_merges({b"xa": 9, b"xay": 3, b"xz": 3}, 3) == [(b"x", b"a"), (b"xa", b"y"), (b"x", b"z")]
    assert learn_merges({b"ab": 1}, 0) == []


def test_merges_equal_the_tokenizers_library_where_no_tie_decides():
    """Its ties go by id, not by bytes; so compare up to the first."""
    generator = random.Random(3)
    words = ["".join(generator.choices("aeinorst", k=generator.randint(2, 9))) for _ in range(60)]
    text = "".join(f" {word}" * generator.randint(1, 2000) for word in words)
    wanted, before_a_tie = slow_merges(gpt2_words(text), 250)
    assert before_a_tie > 30, "too many ties in this text to say much"
    reference = Tokenizer(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    reference.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=256 + before_a_tie, initial_alphabet=alphabet, show_progress=False)
    )
    trained = SubWordTokenizer.train(text, 257 + before_a_tie)
    learned = {token.decode() for token in trained.tokens[256:]}
    shown = {token.replace("Ġ", " ").replace("Ċ", "\n") for token in set(reference.get_vocab()) - set(alphabet)}
    assert learned == shown
    assert our_merges(text, before_a_tie) == wanted[:before_a_tie]


@PROPERTY
@given(st.text(alphabet="abc d\n\u3000é", max_size=80))
def test_encoding_applies_the_merges_in_the_order_they_were_learned(text):
    tokenizer = SubWordTokenizer.train("abcab cabd dab abab\n\n é é cab", 285)
    merges, _ = slow_merges(gpt2_words("abcab cabd dab abab\n\n é é cab"), 28)
    wanted: list[bytes] = []
    for word in gpt2_words(text):
        part = [bytes([byte]) for byte in word]
        for pair in merges:
            part = replaced(part, pair)
        wanted += part
    assert [tokenizer.tokens[token] for token in tokenizer.encode(text)] == wanted


def test_tokens_are_the_bytes_then_the_merges_then_the_special_tokens():
    special = [END, "<|user|>", "<|model|>"]
    tokenizer = SubWordTokenizer.train(PROSE, 300, special)
    assert tokenizer.tokens[:256] == [bytes([byte]) for byte in range(256)]
    assert tokenizer.tokens[256:] == [left + right for left, right in slow_merges(gpt2_words(PROSE), 41)[0]]
    assert tokenizer.special_tokens == {END: 297, "<|user|>": 298, "<|model|>": 299}
    assert tokenizer.vocab_size == 300
    assert tokenizer.end_of_text_id == 297


def test_special_tokens_never_take_part_in_a_merge():
    text = f"{END}ab{END}ab<|user|>ab{END}" * 50
    tokenizer = SubWordTokenizer.train(text, 400, [END, "<|user|>"])
    assert tokenizer.tokens[256:] == [b"ab"], "only what stands between the special tokens is learned from"
    assert tokenizer.vocab_size == 259
    assert tokenizer.encode("ab" + END, [END]) == [256, 257]
    ordinary = tokenizer.encode(END)
    assert ordinary == list(END.encode())
    assert tokenizer.decode(ordinary) == tokenizer.decode([257]) == END


def test_special_token_cuts_the_text_as_its_end_does():
    """The white space before it is a run of its own, and the letters on both sides never join."""
    assert count_words(f"a  {END}b{END}c", [END]) == Counter({b"a": 1, b"  ": 1, b"b": 1, b"c": 1})
    assert count_words("x [a].* y", ["[a].*"]) == Counter({b"x": 1, b" ": 1, b" y": 1}), "not a regular expression"


def test_text_file_list_and_generator_give_the_same_tokens(tmp_path):
    text, other = PROSE + "\r\nlast line", MIXED
    for name, content in (("one.txt", text), ("two.txt", other)):
        (tmp_path / name).write_bytes(content.encode())
    first, second = tmp_path / "one.txt", tmp_path / "two.txt"

    def pieces() -> Iterator[str | Path]:
        yield text
        yield second

    wanted = SubWordTokenizer.train([text, other], 320).tokens
    for source in ([first, second], [text, second], (first, other), pieces()):
        assert SubWordTokenizer.train(source, 320).tokens == wanted
    assert SubWordTokenizer.train(first, 320).tokens == SubWordTokenizer.train(text, 320).tokens
    assert SubWordTokenizer.train(text, 320).tokens != wanted


def test_two_texts_of_a_list_are_not_joined():
    assert count_words(["ab", "ab"]) == Counter({b"ab": 2})


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_a_file_read_in_chunks_counts_as_read_at_once(chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(bpe, "_CHUNK", chunk)
    generator = random.Random(chunk)
    texts = [PROSE, MIXED, " " * 200 + "x" + "\n \t" * 90, f"word{END} {END}\n{END}tail ", "", " ", "no-space" * 30]
    texts += ["".join(generator.choices("ab1'ts  \n\r\t!é🙂\u3000\x1c", k=120)) for _ in range(40)]
    file = tmp_path / "text.txt"
    for text in texts:
        file.write_bytes(text.encode())
        assert "".join(bpe.read_pieces(file)) == text
        assert count_words(file, [END]) == count_words(text, [END])
        assert count_words(file) == Counter(gpt2_words(text))


def test_a_file_is_read_in_more_than_one_piece(tmp_path, monkeypatch):
    """Else the test above says nothing, and memory grows with the file."""
    monkeypatch.setattr(bpe, "_CHUNK", 16)
    (tmp_path / "text.txt").write_text(PROSE, encoding="utf-8")
    assert max(map(len, bpe.read_pieces(tmp_path / "text.txt"))) < 60


def test_a_merge_costs_what_it_changes(monkeypatch):
    """200 kB to 1,000 tokens: only words that hold the merged pair are touched, a small share of all."""
    generator = random.Random(0)
    syllables = [a + b for a in "bcdfgklmnprst" for b in ("a", "e", "i", "o", "u", "an", "er", "ing")]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 4))) for _ in range(6000)]
    text = " ".join(words[int(6000 * generator.random() ** 2)] for _ in range(32_000))
    assert len(text) > 200_000
    calls = []
    original = bpe.merge
    monkeypatch.setattr(bpe, "merge", lambda word, pair, merged: calls.append(pair) or original(word, pair, merged))
    tokenizer = SubWordTokenizer.train(text, 1000)
    assert tokenizer.vocab_size == 1000
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(calls) < 0.05 * 743 * len(count_words(text))
    assert len(tokenizer.encode(text)) < len(text) / 2


def test_too_small_a_vocabulary_is_an_error_that_says_how_large_it_must_be():
    with pytest.raises(ValueError, match=r"vocab_size.*257.*not 256"):
        SubWordTokenizer.train("some text", 256)
    with pytest.raises(ValueError, match=r"vocab_size.*259.*not 258"):
        SubWordTokenizer.train("some text", 258, [END, "<a>", "<b>"])
    assert SubWordTokenizer.train("some text", 257).vocab_size == 257


def test_text_with_too_few_pairs_gives_fewer_tokens():
    tokenizer = SubWordTokenizer.train("abc", 5000)
    assert tokenizer.vocab_size == 256 + 2 + 1
    assert tokenizer.end_of_text_id == 258
    assert tokenizer.encode("abc") == [257]


@pytest.mark.parametrize("source", ["", [], ["", ""], END, iter(())], ids=repr)
def test_no_text_is_an_error(source):
    with pytest.raises(ValueError, match="no text"):
        SubWordTokenizer.train(source, 300)


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match="no text"):
        SubWordTokenizer.train(tmp_path / "empty.txt", 300)


def test_text_with_a_lone_surrogate_is_refused_by_its_position():
    with pytest.raises(ValueError, match=r"character 5 .*surrogate.*ud83d"):
        SubWordTokenizer.train(["fine", "words\ud83d and more"], 300)


@pytest.mark.parametrize(
    "special", [[END, END], [END, ""], END, ["<|user|>"], []], ids=["twice", "empty", "string", "no end", "none"]
)
def test_special_tokens_that_cannot_be_are_refused(special):
    with pytest.raises(ValueError, match="special"):
        SubWordTokenizer.train("some text", 300, special)


def test_the_result_is_a_tiktoken_encoding():
    tokenizer = SubWordTokenizer.train(MIXED, 400)
    assert isinstance(tokenizer.encoding, tiktoken.Encoding)
    assert tokenizer.encoding.n_vocab == tokenizer.vocab_size
    assert base64.b64decode(tokenizer.to_json()["tokens"][256]) == tokenizer.encoding.decode_single_token_bytes(256)


@PROPERTY
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text):
    tokenizer = SubWordTokenizer.train(PROSE, 320)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()
