"""The look that all pictures share: a white card with round corners, a heading, boxes, cells and arrows."""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

from tinyllm.plots import GREY
from tinyllm.plots.picture import flat_png

# Lengths are in points, and a point becomes two pixels: shown 800 pixels wide, as on GitHub, a point is one pixel.
WIDTH = 800
DPI = 144
INK, LINE, PALE = "#1F2328", "#8C959F", "#D0D7DE"
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.labelsize": 12,
    "axes.linewidth": 1,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
EMBEDDING, ATTENTION, FEEDFORWARD, PLAIN = "#FBE3C8", "#CFE5F5", "#CDEBDF", "#F1F3F5"  # tints of the plots' colours


def card(height: float) -> tuple[Figure, Axes]:
    """A white card with round corners, readable on light and dark pages; its axes are in points from the lower left."""
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=DPI, facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    corners = "round,pad=0,rounding_size=12"
    axes.add_patch(FancyBboxPatch((1, 1), WIDTH - 2, height - 2, corners, facecolor="white", edgecolor=PALE))
    return figure, axes


def panel(card: Axes, left: float, bottom: float, width: float, height: float) -> Axes:
    """A plot on the card, its position and size in points."""
    high = card.get_ylim()[1]
    axes = card.figure.add_axes((left / WIDTH, bottom / high, width / WIDTH, height / high), facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=PALE, linewidth=0.8, alpha=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=3)
    return axes


def heading(card: Axes, title: str, line: str) -> None:
    """What the picture says, and a line on how to read it."""
    high = card.get_ylim()[1]
    card.text(28, high - 36, title, fontsize=16, weight="bold")
    card.text(28, high - 58, line, fontsize=12, color=GREY)


def box(
    axes: Axes,
    left: float,
    bottom: float,
    width: float,
    height: float,
    text: str = "",
    note: str = "",
    colour: str = PLAIN,
) -> None:
    """A part: its name, and below it in grey its size or shape. Each line is a text of its own, evenly spaced."""
    corners = "round,pad=0,rounding_size=5"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, corners, facecolor=colour, edgecolor=LINE, zorder=2))
    lines = [(line, INK) for line in text.splitlines()] + [(line, GREY) for line in note.splitlines()]
    for row, (line, ink) in enumerate(lines):
        y = bottom + height / 2 + 15 * ((len(lines) - 1) / 2 - row) - 4
        axes.text(left + width / 2, y, line, fontsize=11, color=ink, ha="center")


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK, width: float = 1.3
) -> None:
    look = {"arrowstyle": "-|>", "mutation_scale": 8 + 2 * width, "shrinkA": 0, "shrinkB": 0, "zorder": 2}
    axes.annotate("", end, start, arrowprops=look | {"color": colour, "linewidth": width, "joinstyle": "miter"})


def note(axes: Axes, x: float, y: float, text: str, colour: str, lift: float = 0) -> None:
    """A label for a line, to the right of the plot."""
    axes.annotate(text, (x, y), (0, lift), textcoords="offset points", color=colour, va="center", annotation_clip=False)


def cell(
    axes: Axes, left: float, bottom: float, width: float, height: float, text: str = "", colour: str = "white"
) -> None:
    """One number of a vector or matrix, or one token of a row."""
    axes.add_patch(Rectangle((left, bottom), width, height, facecolor=colour, edgecolor=LINE, linewidth=0.8, zorder=2))
    axes.text(left + width / 2, bottom + height / 2 - 4, text, fontsize=11, ha="center")


def tint(colour: str, share: float) -> str:
    """A colour mixed with white: 0 is white, 1 the colour itself."""
    return to_hex([1 - share * (1 - part) for part in to_rgb(colour)])


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 64 colours, which are enough for flat drawings. Outside the card's corners it is transparent."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, facecolor="none")
    path.write_bytes(flat_png(Image.open(buffer), 64))
