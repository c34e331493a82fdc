"""Blocks and batches: every token once an epoch, and each batch a pure function of the seed and its index."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from token_splits import split_of

from tinyllm.config import ModelConfig, RunConfig, TrainingConfig
from tinyllm.system.distributed import Processes
from tinyllm.text.batches import Blocks
from tinyllm.text.prepared import HELD_OUT, prepare
from tinyllm.text.sources import load_corpus
from tinyllm.training.micro_batches import micro_batches

SHAPES = st.tuples(st.integers(1, 12), st.integers(0, 60), st.integers(0, 5))  # context length, tokens to spare, seed


def epochs_of(blocks: Blocks, count: int) -> list[list[int]]:
    """Where the blocks of the first epochs begin; a new one begins with the first token that comes a second time."""
    epochs: list[list[int]] = [[]]
    seen: set[int] = set()
    index = 0
    while len(epochs) <= count:
        start = int(blocks.batch(index, 1)[0][0, 0])
        covered = set(range(start, start + blocks.context_length))
        # Blocks of two epochs might not overlap, so an epoch also ends when no further block fits beside its others.
        offset = (epochs[-1] or [start])[0] % blocks.context_length
        whole = len(range(offset, len(blocks.tokens) - blocks.context_length, blocks.context_length))
        if len(epochs[-1]) == whole:
            epochs.append([])
            seen = set()
        assert not covered & seen
        seen |= covered
        epochs[-1].append(start)
        index += 1
    return epochs[:count]


@given(SHAPES)
@settings(deadline=None)
def test_every_token_is_a_target_once_an_epoch_the_ends_aside(shape):
    context_length, spare, seed = shape
    length = context_length + 1 + spare
    blocks = Blocks(split_of([length]), context_length, seed)
    for starts in epochs_of(blocks, 4):
        targets = sorted(start + 1 + step for start in starts for step in range(context_length))
        assert targets == list(range(targets[0], targets[-1] + 1))  # each once, none left out in between
        assert targets[0] - 1 < context_length  # only a part of a block is missing at the beginning,
        assert length - 1 - targets[-1] < context_length  # and at the end


def test_every_token_but_the_first_is_a_target_sooner_or_later():
    blocks = Blocks(split_of([4 * 8 + 3]), 8, seed=0)
    targets = {int(target) for index in range(400) for target in blocks.batch(index, 1)[1][0]}
    assert targets == set(range(1, 35))


@given(SHAPES, st.sampled_from(["anywhere", "document"]), st.integers(0, 50), st.integers(1, 20))
@settings(deadline=None)
def test_a_batch_is_a_pure_function_of_seed_and_index(shape, begin, first, count):
    context_length, spare, seed = shape
    split = split_of([context_length + 1, spare + 1])
    blocks = Blocks(split, context_length, seed, begin)
    ids, targets = blocks.batch(first, count)
    assert ids.shape == targets.shape == (count, context_length)
    assert ids.dtype == targets.dtype == np.int64
    assert np.array_equal(targets, ids + 1)  # here a token is its own index
    assert np.array_equal(ids, ids[:, :1] + np.arange(context_length))
    assert ids.min() >= 0
    assert targets.max() < len(split.tokens)
    fresh = [Blocks(split, context_length, seed, begin).batch(index, 1) for index in range(first, first + count)]
    assert np.array_equal(np.concatenate([ids for ids, _ in fresh]), ids)
    backwards = [blocks.batch(index, 1)[0] for index in reversed(range(first, first + count))]
    assert np.array_equal(np.concatenate(backwards[::-1]), ids)


def test_each_epoch_has_an_order_and_an_offset_of_its_own():
    blocks = Blocks(split_of([64 * 51]), 64, seed=3)
    epochs = epochs_of(blocks, 6)
    assert len({starts[0] % 64 for starts in epochs}) > 3
    orders = {tuple(start // 64 for start in starts) for starts in epochs}
    assert len(orders) == 6
    assert all(list(starts) != sorted(starts) for starts in epochs)
    other = epochs_of(Blocks(split_of([64 * 51]), 64, seed=4), 6)
    assert all(one != two for one, two in zip(epochs, other, strict=True))


@given(st.integers(1, 9), st.lists(st.integers(1, 25), min_size=1, max_size=12), st.integers(0, 5))
@settings(deadline=None)
def test_blocks_at_documents_read_every_document_once_an_epoch(context_length, lengths, seed):
    split = split_of([*lengths, context_length + 1])  # room after the last document
    blocks = Blocks(split, context_length, seed, begin="document")
    wanted = [
        start + step
        for start, length in zip(split.starts.tolist(), lengths, strict=False)
        for step in range(0, length, context_length)
    ]
    wanted.append(int(split.starts[-1]))
    per_epoch = len(wanted)
    orders = []
    for epoch in range(3):
        ids, _ = blocks.batch(epoch * per_epoch, per_epoch)
        orders.append(ids[:, 0].tolist())
        assert sorted(orders[-1]) == wanted
    if per_epoch > 8:
        assert len(set(map(tuple, orders))) > 1


def test_a_document_too_near_the_end_for_a_whole_block_begins_none():
    blocks = Blocks(split_of([10, 3, 3]), 8, begin="document")
    assert {int(blocks.batch(index, 1)[0][0, 0]) for index in range(20)} == {0}
    with_room = Blocks(split_of([10, 3, 9]), 8, begin="document")
    assert {int(with_room.batch(index, 1)[0][0, 0]) for index in range(20)} == {0, 8, 10, 13}


@given(SHAPES, st.sampled_from(["anywhere", "document"]), st.integers(1, 8))
def test_fixed_blocks_are_whole_different_and_spread_over_the_text(shape, begin, count):
    context_length, spare, seed = shape
    split = split_of([context_length + 1, spare + 1])
    blocks = Blocks(split, context_length, seed, begin)
    ids, targets = blocks.fixed(count)
    assert np.array_equal(ids, Blocks(split, context_length, seed + 1, begin).fixed(count)[0])
    assert np.array_equal(targets, ids + 1)
    assert 1 <= len(ids) <= count
    assert len(set(ids[:, 0].tolist())) == len(ids)
    assert ids[0, 0] == 0
    if count > 1 and begin == "anywhere":
        assert len(split.tokens) - 1 - targets[-1, -1] < context_length


@pytest.mark.parametrize("begin", ["anywhere", "document"])
def test_a_text_shorter_than_a_block_is_refused(begin):
    assert Blocks(split_of([9]), 8, begin=begin).batch(0, 3)[0].tolist() == [list(range(8))] * 3
    with pytest.raises(ValueError, match=r"8 tokens.*needs 9.*context_length"):
        Blocks(split_of([8]), 8, begin=begin)


@pytest.mark.timeout(60)  # offsets at which no block fits would make hundreds of empty epochs for each with one
def test_a_text_of_one_block_has_a_block_in_every_epoch():
    assert Blocks(split_of([1025]), 1024).batch(20_000, 1)[0].tolist() == [list(range(1024))]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_the_shares_of_several_processes_are_the_batch_of_one(world_size):
    config = RunConfig(
        model=ModelConfig(context_length=8), training=TrainingConfig(batch_size=3, gradient_accumulation_steps=4)
    )
    blocks = Blocks(split_of([500]), 8, seed=1)
    for iteration in (0, 1, 7):
        shares = [
            micro_batches(blocks, config, iteration, Processes(torch.device("cpu"), rank, world_size), 3)
            for rank in range(world_size)
        ]
        assert {len(share) for share in shares} == {4 // world_size}
        ids = np.concatenate([part.numpy() for share in shares for part, _ in share])
        targets = np.concatenate([part.numpy() for share in shares for _, part in share])
        wanted, _ = blocks.batch(iteration * 12, 12)
        assert np.array_equal(targets, ids + 1)
        assert sorted(map(tuple, ids)) == sorted(map(tuple, wanted))
    if world_size > 1:
        with pytest.raises(ValueError, match="must be a multiple of the 5 processes"):
            micro_batches(blocks, config, 0, Processes(torch.device("cpu"), 0, 5), 3)


def test_no_block_of_training_holds_held_out_text(config, home):
    data = prepare(dataclasses.replace(config, validation_fraction=0.5), 50_257, progress=False)
    blocks = Blocks(data.splits["train"], 32)
    ids, _ = blocks.batch(0, 200)
    seen = Counter(word for row in ids for word in data.tokenizer.decode(row).split())
    words = [Counter(document.split()) for document in load_corpus(config.data).documents("train")]
    held_out = data.tokenizer.decode(data.splits[HELD_OUT].tokens)
    for index, own in enumerate(words):
        others = sum(words[:index] + words[index + 1 :], Counter())
        marks = [word for word in own if word not in others and len(word) > 6]  # long enough to be no half of another
        assert len(marks) > 20
        if all(mark in held_out for mark in marks):
            assert not any(mark in seen for mark in marks)
        else:
            assert sum(mark in seen for mark in marks) > 0.9 * len(marks)
