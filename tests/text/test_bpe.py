"""Byte-pair encoding: our incremental training against one that counts everything again at each step."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_bpe import MIXED, PROSE, gpt2_words, slow_merges
from tokenizer_samples import END, PROPERTY
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tinyllm import CharacterTokenizer, SubWordTokenizer, WordTokenizer
from tinyllm.text import bpe
from tinyllm.text.bpe import count_words, learn_merges


def our_merges(text: str, count: int) -> list[tuple[bytes, bytes]]:
    return learn_merges(count_words(text), count)


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


def test_special_token_cuts_the_text_as_its_end_does():
    """The white space before it is a run of its own, and the letters on both sides never join."""
    assert count_words(f"a  {END}b{END}c", [END]) == Counter({b"a": 1, b"  ": 1, b"b": 1, b"c": 1})
    assert count_words("x [a].* y", ["[a].*"]) == Counter({b"x": 1, b" ": 1, b" y": 1}), "not a regular expression"


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


@pytest.mark.parametrize("kind", [SubWordTokenizer, WordTokenizer, CharacterTokenizer])
def test_a_string_that_names_a_file_is_said_to_be_text(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "plain notes.txt"
    path.write_text("a cat and a dog " * 9)
    (tmp_path / "folder").mkdir()
    more = () if kind is CharacterTokenizer else (300,)
    for source in ("plain notes.txt", str(path), ["plain notes.txt", str(path)], "folder"):
        with pytest.raises(
            ValueError, match=r"^'.*' is a file or folder here, but a string is taken as the text itself"
        ):
            kind.train(source, *more)
    learned = kind.train(path, *more)
    for source in ([path], ["a cat and a dog " * 9], iter([path]), "a cat and a dog " * 9):
        assert kind.train(source, *more).fingerprint == learned.fingerprint
    for text in (
        "nowhere.txt",
        "text",
        ".",
        "x" * 5000,
        "plain notes.txt is a file",
        ["plain notes.txt", "and a text"],
    ):
        assert kind.train(text, *more).vocab_size > 1
