"""Pictures of numbers, with matplotlib's object interface: no global state, no window."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

# Colour-blind safe (Okabe and Ito, "Color Universal Design", 2008); shape or text always says the same as the colour.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"


class Picture(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def loss_curve(
    history: Sequence[Mapping[str, Any]], lines: Mapping[str, float] | None = None, path: str | Path | None = None
) -> Picture:
    """Training and validation loss by iteration.

    Args:
        history: points as in `Run.history`.
        lines: more horizontal lines to compare with, {label: nats per token}; TinyWiki's floor is in the history.
        path: where to write the picture; the ending says the format.
    """
    figure = Picture(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps = [point for point in history if "training_loss" in point]
    measured = [point for point in history if "validation_loss" in point]
    if steps:
        x, y = ([point[key] for point in steps] for key in ("iteration", "training_loss"))
        axes.plot(x, y, color=BLUE, alpha=0.25, linewidth=0.8)
        axes.plot(x, _smooth(y), color=BLUE, linewidth=1.5, label="training blocks (smoothed)")
    if measured:
        x, y = ([point[key] for point in measured] for key in ("iteration", "validation_loss"))
        axes.plot(x, y, "o-", color=ORANGE, markersize=4, label="held-out articles")
    floors = [point["entropy_floor"] for point in measured if "entropy_floor" in point]
    lines = ({"entropy floor": floors[-1]} if floors else {}) | dict(lines or {})
    for (label, value), style in zip(lines.items(), ("--", ":", "-.") * 9, strict=False):
        axes.axhline(value, linestyle=style, color=GREY, linewidth=1, label=f"{label}: {value:.2f}")
    axes.set(xlabel="iteration", ylabel="loss (nats per token)", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _smooth(values: Sequence[float]) -> np.ndarray:
    """A running mean over about a fiftieth of the curve; near the ends over what there is."""
    width = max(1, len(values) // 50)
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
