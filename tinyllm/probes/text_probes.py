"""Probes of a text."""

import numpy as np

from tinyllm.probes.report import Finding


def floor(measured: tuple[float, float, float] | None) -> Finding:
    """No honest loss on held-out text is below its entropy."""
    if measured is None:
        return Finding("floor", None, "nobody knows the lowest loss possible on this text.")
    loss, lowest, error = measured
    return Finding(
        "floor",
        loss > lowest - 4 * error,
        f"the held-out loss is {loss:.3f}; the lowest possible on that text is {lowest:.3f}.",
        "No model can be so good at text it never saw. It sees the answers, or it has seen the text.",
    )


def leak(texts: tuple[np.ndarray, np.ndarray] | None, length: int = 48, number: int = 64) -> Finding:
    """Held-out text must not stand in the training text: pieces of so many tokens are looked for there."""
    if texts is None or len(texts[1]) < length:
        return Finding("leak", None, "there is no held-out text to look for.")
    training, held_out = (np.asarray(text) for text in texts)
    size = training.dtype.itemsize
    places = np.linspace(0, len(held_out) - length, number).astype(int)
    data = training.tobytes()
    found = 0
    for place in places:
        piece = held_out[place : place + length].astype(training.dtype).tobytes()
        at = data.find(piece)
        while at % size and at >= 0:  # bytes of two neighbours that happen to look like a token
            at = data.find(piece, at + 1)
        found += at >= 0
    return Finding(
        "leak",
        found <= number // 20,
        f"{found} of {number} pieces of the held-out text stand in the training text.",
        "The held-out loss measures memory. Split by whole documents, and remove doubles before you split.",
    )
