"""Probes of a text."""

import numpy as np
from jaxtyping import Integer

from tinyllm.probes.report import Finding

Texts = tuple[Integer[np.ndarray, " _"], Integer[np.ndarray, " _"]]
"""The ids of the training text and of the held-out text."""


def floor(measured: tuple[float, float, float] | None) -> Finding:
    """No honest loss on held-out text is below its entropy."""
    if measured is None:
        return Finding("floor", None, "the lowest possible loss on this text is not known.")
    loss, lowest, error = measured
    return Finding(
        "floor",
        loss > lowest - 4 * error,
        f"the held-out loss is {loss:.3f}; the lowest possible on that text is {lowest:.3f}.",
        "No model can be this good on text it never saw. It sees the answers, or it has seen the text.",
    )


def leak(texts: Texts | None, length: int = 48, pieces: int = 64) -> Finding:
    """Held-out text must not occur in the training text: some pieces, `length` tokens each, are searched for there."""
    if texts is None or len(texts[1]) < length:
        return Finding("leak", None, "there is no held-out text to search for.")
    training, held_out = (np.asarray(text) for text in texts)
    data, size = training.tobytes(), training.dtype.itemsize
    found = 0
    for start in np.linspace(0, len(held_out) - length, pieces).astype(int):
        piece = held_out[start : start + length].astype(training.dtype).tobytes()
        offset = data.find(piece)
        while offset % size and offset >= 0:  # a match across the boundary of two tokens is none
            offset = data.find(piece, offset + 1)
        found += offset >= 0
    return Finding(
        "leak",
        found <= pieces // 20,
        f"{found} of {pieces} pieces of the held-out text occur in the training text.",
        "The held-out loss measures memory. Split by whole documents, and remove duplicates before you split.",
    )
