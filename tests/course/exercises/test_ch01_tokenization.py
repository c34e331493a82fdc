"""Each reference of notebook 01 beside an independent one."""

import codecs
import random
from collections import Counter
from itertools import pairwise

import tokenizers

from tinyllm.course.exercises import ch01_tokenization as tokenization


def test_count_pairs_is_a_count_over_the_words_written_out():
    words = {tuple(random.choices("abc", k=random.randint(1, 6))): random.randint(1, 9) for _ in range(30)}
    text = [word for word, frequency in words.items() for _ in range(frequency)]
    expected = Counter(first + second for word in text for first, second in pairwise(word))
    assert {"".join(pair): count for pair, count in tokenization.count_pairs(words).items()} == expected


def test_merge_is_str_replace():
    for _ in range(200):
        text = "".join(random.choices("ab", k=random.randint(0, 12)))
        pair = "".join(random.choices("ab", k=2))
        expected = [ord(letter) for letter in text.replace(pair, "X")]
        assert tokenization.merge([ord(c) for c in text], (ord(pair[0]), ord(pair[1])), ord("X")) == expected


def test_encode_is_that_of_the_library_tokenizers():
    for _ in range(50):
        merges = [(left.decode(), right.decode()) for left, right in tokenization._merges(12)]
        vocabulary = ["a", "b", "c", *(left + right for left, right in merges)]
        model = tokenizers.models.BPE({token: index for index, token in enumerate(vocabulary)}, merges)
        word = "".join(random.choices("abc", k=12))
        expected = [token.value.encode() for token in model.tokenize(word)]
        assert tokenization.encode(word.encode(), [(a.encode(), b.encode()) for a, b in merges]) == expected


def test_decode_is_an_incremental_decoder(gpt2_tokenizer):
    tokens = gpt2_tokenizer.tokens
    ids = [*random.choices(range(256), k=200), *gpt2_tokenizer.encode("naïve € 語 🙂")]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    expected = "".join(decoder.decode(tokens[token]) for token in ids) + decoder.decode(b"", final=True)
    assert tokenization.decode(ids, tokens) == expected
    assert expected.endswith("naïve € 語 🙂")
