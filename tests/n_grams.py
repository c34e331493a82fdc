"""N-gram models, to show what can be learned of a text without looking far back."""

import numpy as np

LOOKS_BACK = 4  # tokens before the predicted one that the longest n-gram (n = 5) sees


class NGrams:
    """N-grams of orders 1 to 5, each smoothed by the one below it (absolute discounting, interpolated).

    The discount of each order is the one that does best on a split of its own.
    """

    def __init__(self, training: list[np.ndarray], tuning: list[np.ndarray], vocab_size: int):
        self.vocab_size = vocab_size
        self.tables = []
        windows = self.windows(training)
        for order in range(1, LOOKS_BACK + 2):
            grams, counts = np.unique(self.code(windows, order), return_counts=True)
            contexts, starts = np.unique(grams // vocab_size, return_index=True)
            totals = np.add.reduceat(counts, starts)
            kinds = np.diff([*starts, len(grams)])  # how many different tokens follow this context
            self.tables.append((grams, counts, contexts, totals, kinds))
        self.discounts: list[float] = []
        scored = self.windows(tuning)
        for _ in self.tables:
            options = [[*self.discounts, d] for d in (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97)]
            self.discounts = max(options, key=lambda ds: np.log(self.probabilities(scored, ds)[-1]).sum())

    @staticmethod
    def windows(sequences: list[np.ndarray]) -> np.ndarray:
        """Each token but the first separator, after the tokens before it: (tokens, LOOKS_BACK + 1).

        Every article starts afresh, after separators.
        """
        padded = [np.concatenate([ids[:1]] * (LOOKS_BACK - 1) + [ids]) for ids in sequences]
        return np.concatenate([np.lib.stride_tricks.sliding_window_view(ids, LOOKS_BACK + 1) for ids in padded])

    def code(self, windows: np.ndarray, order: int) -> np.ndarray:
        """The last `order` tokens of each window as one number."""
        code = np.zeros(len(windows), np.int64)
        for column in windows.T[-order:]:
            code = code * self.vocab_size + column
        return code

    def probabilities(self, windows: np.ndarray, discounts: list[float] | None = None) -> list[np.ndarray]:
        """p of the last token of each window, for each order."""
        results = [np.full(len(windows), 1 / self.vocab_size)]
        for order, (table, discount) in enumerate(
            zip(self.tables, self.discounts if discounts is None else discounts, strict=False), start=1
        ):
            grams, counts, contexts, totals, kinds = table
            code = self.code(windows, order)
            count = self.look_up(code, grams, counts)
            total, different = (self.look_up(code // self.vocab_size, contexts, values) for values in (totals, kinds))
            smoothed = np.maximum(count - discount, 0) + discount * different * results[-1]
            results.append(np.where(total > 0, smoothed / np.maximum(total, 1), results[-1]))
        return results[1:]

    @staticmethod
    def look_up(codes: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        indices = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
        return np.where(keys[indices] == codes, values[indices], 0)
