"""Splits made by hand, and splits taken apart."""

import numpy as np

from tinyllm.text.tokenized import TokenizedSplit


def documents_of(split: TokenizedSplit) -> list[list[int]]:
    """The ids of each document, with the separator before it."""
    return [part.tolist() for part in np.split(split.tokens, split.starts[1:])]


def split_of(lengths: list[int]) -> TokenizedSplit:
    """A split whose tokens are their own indices."""
    tokens = np.arange(sum(lengths), dtype=np.uint32)
    starts = np.array([sum(lengths[:index]) for index in range(len(lengths))], np.int64)
    return TokenizedSplit(tokens, starts, 0, 0)
