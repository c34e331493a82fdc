"""One picture of each kind that `tinyllm.plots` draws, and how to read the text in one."""

import torch
from matplotlib.figure import Figure

from tinyllm.plots import Drawing, bars, curves, heatmap, ladder, loglog, next_token_bars, places, token_rows

KINDS = ("all", "grammar", "choice", "recall", "world")
PICTURES = {
    "heatmap": lambda: heatmap(torch.tensor([[1.0, -torch.inf], [0.25, 0.75]]), "Weights of two tokens.", "ab", "ab"),
    "bars": lambda: bars({"one": 1.0, "two": 2.0}, "Two bars.", "nats", {"floor": 0.5}),
    "curves": lambda: curves({"falling": [3.0, 2.0]}, "A curve.", "step", "nats", lines={"floor": 1.0}, log=True),
    "loglog": lambda: loglog(
        {"law": ([1, 100], [0.9, 0.7])},
        {"runs": ([1, 10, 100], [0.9, 0.8, 0.7])},
        "A law.",
        "size",
        "nats",
        band=([1, 100], [0.85, 0.6], [0.95, 0.8]),
        lines={"floor": 0.5},
    ),
    "places": lambda: places({"line": ([0, 2], [1, 3])}, {"dots": ([1, 2], [0, 1])}, "Places.", "nats", "reward"),
    "ladder": lambda: ladder({"bigram": dict.fromkeys(KINDS, 1.5)}, {"floor": 0.3}),
    "own text": lambda: ladder({"bigram": {"all": 1.5}}),
    "tokens": lambda: token_rows({"two ways": [(b"ab", 7), (b" c", 300)], "bytes": [(b"\xf0", 0)]}),
    "next": lambda: next_token_bars(["a", "b"], [0.75, 0.25], [1.0, 0.0]),
    "drawing": lambda: Drawing("attention_row"),
}


def written(figure: Figure) -> list[str]:
    """The texts in the figure's axes, in the order in which they were drawn."""
    return [text.get_text() for axes in figure.axes for text in axes.texts]
