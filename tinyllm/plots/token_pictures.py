"""Tokens as boxes, and what may come next as bars."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import Rectangle

from tinyllm.plots.axes import new_chart
from tinyllm.plots.picture import BLUE, GREY, Picture

_LINE_WIDTH = 100  # letters


class _Box(NamedTuple):
    """A token in its line; x and width in letters."""

    x: float
    width: float
    text: str
    below: str
    odd: bool


def token_rows(rows: Mapping[str, Sequence[tuple[bytes, int]]], show_bytes: bool = False) -> Picture:
    """A text split into tokens by several methods, each token with its id or its bytes below it.

    Args:
        rows: {method: (bytes, id) of each token}.
    """
    lines: list[str | list[_Box]] = []  # headings, and tokens
    for method, tokens in rows.items():
        count = f"{len(tokens)} token{'s' * (len(tokens) != 1)}"
        lines += [f"{method}: {count}", *_broken_lines(tokens, show_bytes)]
    heights = [0.32 if isinstance(line, str) else 0.52 for line in lines]
    figure = Picture(figsize=(9.5, sum(heights) + 0.1))
    axes = figure.add_axes((0.01, 0, 0.98, 1))
    axes.set(xlim=(0, _LINE_WIDTH), ylim=(sum(heights) + 0.05, -0.05))
    axes.axis("off")
    y = 0.0
    for line, height in zip(lines, heights, strict=True):
        if isinstance(line, str):
            axes.text(0, y + 0.2, line, fontsize=11, fontweight="bold", va="center")
        else:
            for box in line:
                _draw(axes, box, y)
        y += height
    described = (
        f"{method}: {' '.join(f'[{visible(token)}]' for token, _ in tokens)}" for method, tokens in rows.items()
    )
    figure.alt = f"A text cut into tokens. {'. '.join(described)}."
    return figure


def _broken_lines(tokens: Sequence[tuple[bytes, int]], show_bytes: bool) -> list[list[_Box]]:
    """The boxes of one method; a new line begins where one is full."""
    lines: list[list[_Box]] = [[]]
    x = 0.0
    for index, (token, token_id) in enumerate(tokens):
        text, below = visible(token), token.hex(" ") if show_bytes else str(token_id)
        width = max(len(text), 0.75 * len(below)) + 0.6
        if lines[-1] and x + width > _LINE_WIDTH:
            lines.append([])
            x = 0.0
        lines[-1].append(_Box(x, width, text, below, bool(index % 2)))
        x += width
    return lines


def _draw(axes: Axes, box: _Box, y: float) -> None:
    tint = "#F8E3D6" if box.odd else "#CFE3F1"
    axes.add_patch(
        Rectangle((box.x + 0.1, y + 0.02), box.width - 0.2, 0.27, facecolor=tint, edgecolor=GREY, linewidth=0.6)
    )
    middle = box.x + box.width / 2
    axes.text(middle, y + 0.155, box.text, fontsize=9, family="monospace", parse_math=False, ha="center", va="center")
    axes.text(middle, y + 0.37, box.below, fontsize=6.5, family="monospace", ha="center", va="center", color=GREY)


def visible(token: bytes) -> str:
    """A token as it can be drawn: a dot for each space, and hexadecimal for what the font has no letter for."""
    text = token.decode("utf-8", errors="replace").replace(" ", "·").replace("\n", "⏎")
    known = get_font(findfont("monospace")).get_charmap()
    drawable = text.isprintable() and "\ufffd" not in text and all(ord(letter) in known for letter in text)
    return text if drawable else token.hex(" ")


def next_token_bars(names: Sequence[str], as_trained: Sequence[float], now: Sequence[float]) -> Picture:
    """The likeliest next tokens: the model's own probabilities outlined, those under the settings filled."""
    kept = sum(value > 0 for value in now)
    title = f"What comes next: {kept} of these {len(names)} can be drawn."
    chances = "; ".join(
        f"{name} {value:.0%}" if value else f"{name} cut" for name, value in zip(names, now, strict=True)
    )
    figure, axes = new_chart(title, f"Bar chart. {title} {chances}", height=5)
    rows = range(len(names))
    axes.barh(rows, now, color=BLUE, height=0.75, label="with these settings")
    axes.barh(rows, as_trained, facecolor="none", edgecolor="black", linewidth=0.8, height=0.75, label="as trained")
    labels = [f"{value:.1%}" if value else "cut" for value in now]
    ends = [max(pair) for pair in zip(now, as_trained, strict=True)]
    for row, end, label in zip(rows, ends, labels, strict=True):
        axes.annotate(label, (end, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(rows, names, fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.set(xlabel="probability", xlim=(0, max(0.12, 1.12 * max(ends))))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure
