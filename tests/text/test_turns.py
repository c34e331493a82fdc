"""Which targets of a text with dialogues are learned, whoever speaks where a block begins."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from token_splits import split_of

from tinyllm import SubWordTokenizer
from tinyllm.config import IGNORED
from tinyllm.text.batches import Blocks
from tinyllm.text.dialogues import Dialogue
from tinyllm.text.tokenized import TokenizedSplit, tokenize
from tinyllm.text.turns import Turns

QUESTION, ANSWER = {"role": "user", "content": "who sings ?"}, {"role": "assistant", "content": "my aunt ."}


@pytest.fixture(scope="module")
def tokenizer():
    return SubWordTokenizer.train("who sings ? my aunt . the old dog sleeps .", 280).with_roles()


def learned_by_hand(tokens: list[int], turns: Turns) -> list[bool]:
    """Token by token, with a state: who speaks."""
    speaker, result = turns.document, []
    for token in tokens:
        opens = token in (turns.system, turns.user, turns.assistant)
        result.append(speaker == turns.assistant or (speaker == turns.document and not opens))
        speaker = token if token in turns else speaker
    return result


@given(st.lists(st.integers(0, 7), max_size=60))
@example([])
def test_answers_are_learned_with_their_end_and_documents_whole(tokens):
    turns = Turns(document=4, system=5, user=6, assistant=7)
    assert turns.learned(np.array(tokens, int)).tolist() == learned_by_hand(tokens, turns)


def test_the_targets_of_a_dialogue_are_its_answer(tokenizer):
    dialogue = Dialogue([QUESTION, ANSWER, {"role": "user", "content": "why ?"}, {"role": "assistant", "content": "."}])
    ids = tokenizer.encode_documents([dialogue, "my aunt ."])
    learned = tokenizer.decode(ids[Turns.of(tokenizer).learned(ids)])
    # The first separator is no target of a block; after the first answer the next speaker is what ends it.
    assert learned == "<|endoftext|>my aunt .<|user|>.<|endoftext|>my aunt ."


@pytest.mark.parametrize("begin", ["anywhere", "document"])
@pytest.mark.parametrize("length", [3, 7, 16])
def test_a_block_knows_who_speaks_where_it_begins(tokenizer, begin, length):
    texts = [Dialogue([QUESTION, ANSWER]), "the old dog sleeps .", Dialogue([QUESTION, ANSWER, QUESTION, ANSWER])] * 3
    split = tokenize(texts, tokenizer)
    turns = Turns.of(tokenizer)
    whole = np.where(turns.learned(split.tokens), split.tokens.astype(int), IGNORED)
    plain, masked = (Blocks(split, length, 3, begin, given) for given in (None, turns))
    places = Blocks(TokenizedSplit(np.arange(len(split.tokens), dtype=np.uint32), split.starts, 0, 0), length, 3, begin)
    for index in range(12):
        ids, targets = masked.batch(index, 2)
        assert np.array_equal(ids, plain.batch(index, 2)[0])
        assert np.array_equal(targets, whole[places.batch(index, 2)[1]])
    assert (masked.batch(0, 12)[1] == IGNORED).any()


def test_without_roles_every_target_counts():
    blocks = Blocks(split_of([40]), 8)
    assert (blocks.batch(0, 3)[1] != IGNORED).all()


def test_a_block_of_a_long_document_is_marked_without_reading_what_is_before_it(tokenizer, monkeypatch):
    split = tokenize(["the old dog sleeps . " * 500, Dialogue([QUESTION, ANSWER])], tokenizer)
    read, learned = [], Turns.learned
    monkeypatch.setattr(Turns, "learned", lambda turns, tokens: read.append(len(tokens)) or learned(turns, tokens))
    Blocks(split, 8, turns=Turns.of(tokenizer)).batch(0, 5)
    assert read == [9] * 5
