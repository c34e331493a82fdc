"""Batches of documents to ids: the same as one by one, in order, a few at a time, and no thread left after an error."""

import os
import threading
import time
from contextlib import closing
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_samples import ANY_TEXT, END, KINDS, PROPERTY

import tinyllm.text.tokenized
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenized import text_size, tokenize, tokenized_batches
from tinyllm.text.tokenizer import CharacterTokenizer, Tokenizer, WordTokenizer

DOCUMENTS = [f"the cat {index} sat{' on the mat' * (index % 4)}\n" for index in range(60)] + [
    "",
    END,
    f"a{END}b",
    "é🙂",
]


@pytest.fixture(params=[*KINDS, "gpt2"])
def each(request, gpt2_tokenizer) -> Tokenizer:
    if request.param == "character":
        return CharacterTokenizer.train("".join(DOCUMENTS))
    return gpt2_tokenizer if request.param == "gpt2" else KINDS[request.param]()


@pytest.fixture
def small_batches(monkeypatch) -> None:
    """About two documents a batch, on two threads."""
    monkeypatch.setattr(tinyllm.text.tokenized, "_BATCH", 30)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@pytest.mark.parametrize("threads", [None, 1, 2, 16])
@pytest.mark.parametrize("batch", [1, 30, 1 << 18])
def test_a_text_in_batches_is_the_same_as_document_by_document(monkeypatch, each, threads, batch):
    monkeypatch.setattr(tinyllm.text.tokenized, "_BATCH", batch)
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    split = tokenize(iter(DOCUMENTS), each)
    ids = [[each.end_of_text_id, *each.encode(document)] for document in DOCUMENTS]
    assert split.tokens.dtype == np.uint16
    assert split.tokens.tolist() == list(chain.from_iterable(ids))
    assert split.starts.dtype == np.int64
    assert split.starts.tolist() == [sum(map(len, ids[:index])) for index in range(len(ids))]
    assert split.words == sum(len(document.split()) + document.count("\n") for document in DOCUMENTS)
    assert split.size == len("".join(DOCUMENTS).encode())


def test_no_document_is_no_batch_and_no_text(gpt2_tokenizer):
    assert list(tokenized_batches([], gpt2_tokenizer)) == []
    with pytest.raises(ValueError, match="no text to tokenise"):
        tokenize([], gpt2_tokenizer)


def numbered(count: int) -> list[str]:
    """Documents that say their index, each of them a batch."""
    return [f"{index:<30}" for index in range(count)]


def test_results_come_in_order_whichever_is_ready_first(small_batches, gpt2_tokenizer, monkeypatch):
    finished = []
    second = threading.Event()
    encode_documents = SubWordTokenizer.encode_documents

    def first_one_last(self, texts):
        index = int(texts[0])
        assert index > 0 or second.wait(30)
        ids = encode_documents(self, texts)
        finished.append(index)
        second.set()
        return ids

    monkeypatch.setattr(SubWordTokenizer, "encode_documents", first_one_last)
    batches = tokenized_batches(numbered(20), gpt2_tokenizer)
    assert [int(gpt2_tokenizer.decode(batch.tokens[1:])) for batch in batches] == list(range(20))
    assert finished[0] == 1


def test_only_a_few_batches_are_read_ahead(small_batches, gpt2_tokenizer):
    read = []
    documents = (read.append(document) or document for document in numbered(100))
    for taken, _ in enumerate(tokenized_batches(documents, gpt2_tokenizer), start=1):
        assert len(read) <= taken + 3
    assert len(read) == 100


def test_an_error_in_a_document_comes_as_it_is_and_ends_all_threads(small_batches, gpt2_tokenizer):
    read = []
    documents = [*numbered(5), "the cat \udc00 sat, and many more", *numbered(100)]
    threads = threading.active_count()
    with pytest.raises(ValueError, match=r"^character 8 of the text is the lone surrogate"):
        tokenize((read.append(document) or document for document in documents), gpt2_tokenizer)
    assert threading.active_count() == threads
    assert len(read) < 12


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_while_documents_are_read_or_results_used_ends_all_threads(small_batches, gpt2_tokenizer, error):
    def broken():
        yield from numbered(5)
        raise error

    threads = threading.active_count()
    with pytest.raises(error):
        tokenize(broken(), gpt2_tokenizer)
    assert threading.active_count() == threads
    with pytest.raises(error), closing(tokenized_batches(numbered(50), gpt2_tokenizer)) as batches:
        for _ in batches:
            assert threading.active_count() > threads
            raise error
    assert threading.active_count() == threads


def test_what_was_not_begun_before_an_error_is_not_begun_after_it(small_batches, gpt2_tokenizer, monkeypatch):
    begun = []

    def slow(self, texts):
        begun.append(texts)
        time.sleep(0.5)
        return np.array([self.end_of_text_id], np.uint32)

    def broken():
        yield from numbered(3)
        raise OSError

    monkeypatch.setattr(SubWordTokenizer, "encode_documents", slow)
    with pytest.raises(OSError):
        tokenize(broken(), gpt2_tokenizer)
    assert len(begun) <= 2


@pytest.mark.parametrize(("characters", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_ids_that_need_more_than_two_bytes_get_four(characters, dtype):
    alphabet = [chr(code) for code in range(0x20, 0x20 + characters + 0x800) if not 0xD800 <= code < 0xE000]
    tokenizer = CharacterTokenizer("".join(alphabet[:characters]))
    last = tokenizer.characters[-1]
    split = tokenize([last], tokenizer)
    assert tokenizer.vocab_size == characters + 1
    assert split.tokens.dtype == dtype
    assert split.tokens.tolist() == [characters, characters - 1]


@given(st.text(alphabet=st.sampled_from("ab \n\té本")))
def test_words_are_counted_as_the_word_tokenizer_cuts_them(text):
    assert text_size([text]) == (len(WordTokenizer.split(text)), len(text.encode("utf-8")))


SPACES = "".join(chr(code) for code in range(0x110000) if chr(code).isspace())


@PROPERTY
@given(st.lists(st.text(st.sampled_from(SPACES + "ab本\x80\u07ff\u0800\uffff\U00010000\u3001\u3002")) | ANY_TEXT))
def test_words_and_bytes_are_those_of_split_and_encode(texts):
    words = sum(len(text.split()) + text.count("\n") for text in texts)
    assert text_size(iter(texts)) == (words, len("".join(texts).encode("utf-8")))


def test_words_are_counted_over_batches_and_with_every_character(small_batches):
    every = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    texts = ["a b\n", *every, every, " a", "b"]
    words = sum(len(text.split()) + text.count("\n") for text in texts)
    assert text_size(texts) == (words, len("".join(texts).encode("utf-8")))
