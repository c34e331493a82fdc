"""Which blocks make up each batch: a pure function of (seed, batch number).

So a run that resumes needs to remember nothing about its data.
"""

import bisect
from collections.abc import Iterable

import numpy as np

from tinyllm.text.prepared import TokenizedSplit


class Blocks:
    """The blocks of `context_length` tokens that training reads, shuffled anew each epoch.

    They begin "anywhere": the stream is cut from a random offset on, drawn each epoch, so that every token is a target
    once an epoch, the partial blocks at both ends aside. Or each begins at a "document" and runs on into what follows
    it; a longer document is cut into several, and what is too near the end of the text for a whole block begins none.
    Then the model sees documents as it will write them, from their start.
    """

    def __init__(self, split: TokenizedSplit, context_length: int, seed: int = 0, begin: str = "anywhere"):
        self.tokens = split.tokens
        self.context_length = context_length
        self.seed = seed
        spare = len(self.tokens) - context_length  # how many places a block can begin at
        if spare < 1:
            raise ValueError(
                f"the text has {len(self.tokens)} tokens, but a block needs {context_length + 1}: "
                "use more text or a smaller context_length"
            )
        if begin == "document":
            ends = [*split.starts[1:], len(self.tokens)]
            places = [np.arange(start, end, context_length) for start, end in zip(split.starts, ends, strict=True)]
            self.places = np.concatenate(places)
            self.places = self.places[self.places < spare]
            self.offsets = 1
        else:
            self.places = np.arange(0, spare, context_length)
            self.offsets = min(context_length, spare)
        self.spare = spare
        self._ends = [0]  # the number of the block after each epoch, as far as they were asked for
        self._latest = -1, self.places  # the epoch asked for last

    def batch(self, first: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Blocks number `first` to `first + number` of the run: ids and targets, each (number, T), int64."""
        return self._cut([self._place(index) for index in range(first, first + number)])

    def fixed(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Up to `number` blocks spread evenly over the text, the same at each call."""
        chosen = np.linspace(0, len(self.places) - 1, min(number, len(self.places))).astype(int)
        return self._cut(self.places[chosen])

    def _place(self, index: int) -> int:
        while index >= self._ends[-1]:  # an epoch has one block more or less than another, as its offset decides
            self._ends.append(self._ends[-1] + len(self._epoch(len(self._ends) - 1)))
        epoch = bisect.bisect_right(self._ends, index) - 1
        return self._epoch(epoch)[index - self._ends[epoch]]

    def _epoch(self, epoch: int) -> np.ndarray:
        """The places of an epoch's blocks, in the order in which they are read."""
        if self._latest[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            places = self.places + generator.integers(self.offsets)
            self._latest = epoch, generator.permutation(places[places < self.spare])
        return self._latest[1]

    def _cut(self, places: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        blocks = np.stack([self.tokens[place : place + self.context_length + 1] for place in places]).astype(np.int64)
        return blocks[:, :-1], blocks[:, 1:]
