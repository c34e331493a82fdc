"""Generated arguments contain the narrow cases that they promise."""

from itertools import pairwise

import torch

from tinyllm.course.checking.generators import (
    boundaries,
    distinct_scores,
    score_tensors,
    seeds,
    shapes,
    symbol_words,
    token_lists,
)


def test_shapes_have_a_batch_and_no_two_sizes_alike():
    found = shapes(3)
    assert found[0] == (1, 1, 1)
    assert all(shape[0] > 1 and len(set(shape)) == 3 for shape in found[1:])


def test_scores_are_large_tied_and_equal():
    found = score_tensors(4, 50)
    assert all(scores.shape == (4, 50) for scores in found)
    assert any(scores.max() > 200 and scores.min() < -200 for scores in found)
    assert any(len(scores.unique()) == 3 for scores in found)
    assert any(len(scores.unique()) == 1 for scores in found)
    for size in (1, 2, 30):
        distinct = distinct_scores(size)
        assert len(distinct.unique()) == size
        assert distinct.abs().max() <= 301


def test_lists_are_empty_single_repeated_and_of_large_ids():
    found = token_lists((7, 8))
    assert [] in found and [7] in found
    assert any(len(ids) > 1 and set(ids) == {7} for ids in found)
    assert all(any(value > 9 for value in ids) for ids in found[3:4])
    assert any((7, 8) in pairwise(ids) for ids in token_lists((7, 8)) + token_lists((7, 8)))


def test_words_have_long_symbols_and_ranges_their_ends():
    words = symbol_words(8)
    assert len(words) == 8
    assert any(len(symbol) > 1 for word in words for symbol in word)
    found = boundaries(0.0, 1.0)
    assert found[:2] == [0.0, 1.0]
    assert all(0 < value < 1 and round(value, 1) != value for value in found[2:])
    assert {0, 2**31 - 1} < set(seeds())
    assert torch.Generator().manual_seed(max(seeds()))
