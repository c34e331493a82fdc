"""Which blocks make up each batch: a pure function of the seed and the batch's position in the run.

So a resumed run needs to remember nothing about its data.
"""

import bisect

import numpy as np
from jaxtyping import Int

from tinyllm.config import IGNORED
from tinyllm.text.tokenized import TokenizedSplit
from tinyllm.text.turns import Turns


class Blocks:
    """The blocks of `context_length` tokens that training reads, reshuffled each epoch.

    They begin "anywhere": the stream is cut from a random offset, drawn anew each epoch, so that every token is a
    target once an epoch, apart from the partial blocks at both ends. Or each begins at a "document" and continues into
    the next one; a longer document is cut into several blocks, and no block begins too near the end of the text to be
    whole. Then the model sees documents as it will write them, from their start.

    With `turns` the text has dialogues, and targets that are not to be learned are `IGNORED`.
    """

    starts: Int[np.ndarray, " N"]
    """The index of each block's first token, before the epoch's offset."""

    def __init__(
        self,
        split: TokenizedSplit,
        context_length: int,
        seed: int = 0,
        begin: str = "anywhere",
        turns: Turns | None = None,
    ):
        self.tokens, self.turns = split.tokens, turns
        self.marks = None if turns is None else np.flatnonzero(np.isin(split.tokens, turns))
        self.context_length = context_length
        self.seed = seed
        self.possible_starts = len(self.tokens) - context_length  # a block can begin at any smaller index
        if self.possible_starts < 1:
            raise ValueError(
                f"the text has {len(self.tokens)} tokens, but a block needs {context_length + 1}: "
                "use more text or a smaller context_length"
            )
        if begin == "document":
            ends = [*split.starts[1:], len(self.tokens)]
            cuts = [np.arange(start, end, context_length) for start, end in zip(split.starts, ends, strict=True)]
            starts = np.concatenate(cuts)
            self.starts = starts[starts < self.possible_starts]
            self.offsets = 1
        else:
            self.starts = np.arange(0, self.possible_starts, context_length)
            self.offsets = min(context_length, self.possible_starts)
        self._epoch_ends = [0]  # the index of the first block after each epoch, computed on demand
        self._latest = -1, self.starts  # the epoch that was used last, and its blocks

    def batch(self, first: int, count: int) -> tuple[Int[np.ndarray, "N T"], Int[np.ndarray, "N T"]]:
        """Blocks `first` to `first + count - 1` of the run: ids and targets, int64."""
        return self._cut(np.array([self._start(index) for index in range(first, first + count)]))

    def fixed(self, count: int) -> tuple[Int[np.ndarray, "N T"], Int[np.ndarray, "N T"]]:
        """Up to `count` blocks spread evenly over the text, the same at each call.

        Of a text with dialogues they are blocks with targets that count, if it has any.
        """
        starts = self.starts
        if self.turns is not None:
            starts = np.union1d(starts, self.possible_starts - 1)  # a last block, which reaches the end of the text
            counted = np.concatenate([[0], np.cumsum(self.turns.learned(self.tokens))])  # before each token
            has_targets = counted[starts + self.context_length + 1] > counted[starts + 1]
            starts = starts[has_targets] if has_targets.any() else starts
        chosen = np.linspace(0, len(starts) - 1, min(count, len(starts))).astype(int)
        return self._cut(starts[chosen])

    def _start(self, index: int) -> int:
        """Where block `index` of the run begins in the text."""
        while index >= self._epoch_ends[-1]:  # epochs differ by a block, depending on their offset
            self._epoch_ends.append(self._epoch_ends[-1] + len(self._epoch(len(self._epoch_ends) - 1)))
        epoch = bisect.bisect_right(self._epoch_ends, index) - 1
        return int(self._epoch(epoch)[index - self._epoch_ends[epoch]])

    def _epoch(self, epoch: int) -> Int[np.ndarray, " N"]:
        """Where the blocks of an epoch begin, in the order in which they are read."""
        if self._latest[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            starts = self.starts + generator.integers(self.offsets)
            self._latest = epoch, generator.permutation(starts[starts < self.possible_starts])
        return self._latest[1]

    def _cut(self, starts: Int[np.ndarray, " N"]) -> tuple[Int[np.ndarray, "N T"], Int[np.ndarray, "N T"]]:
        blocks = np.stack([self.tokens[start : start + self.context_length + 1] for start in starts]).astype(np.int64)
        ids, targets = blocks[:, :-1], blocks[:, 1:]
        if self.turns is not None and self.marks is not None:
            # Who speaks where a block begins is said by the latest mark there or before: a text begins with one.
            latest = self.tokens[self.marks[np.searchsorted(self.marks, starts, side="right") - 1]]
            learned = [self.turns.learned(block)[1:] for block in np.column_stack([latest, targets])]
            targets = np.where(learned, targets, IGNORED)
        return ids, targets
