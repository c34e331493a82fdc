"""Pictures of numbers, with matplotlib's object interface: no global state, no window."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from torch import Tensor

from tinyllm.text.articles import LABELS

# Colour-blind safe (Okabe and Ito, "Color Universal Design", 2008); shape or text always says the same as the colour.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"


_PACKAGE = Path(__file__).parent


class Picture(Figure):
    """A figure that a notebook shows without pyplot, with a text for who cannot see it."""

    alt = ""

    def base64_png(self) -> str:
        """The picture as text, for a notebook or a web page."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return base64.b64encode(buffer.getvalue()).decode()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict, dict]:
        return _shown(self.base64_png(), self.alt)


class Drawing:
    """One of the course's drawings (figures/ in the repository), with its text."""

    def __init__(self, name: str):
        folders = (_PACKAGE / "figures", _PACKAGE.parent / "figures")  # as installed, and in a checkout
        folder = next(folder for folder in folders if (folder / "alt.json").exists())
        self.alt = json.loads((folder / "alt.json").read_text(encoding="utf-8"))[f"{name}.png"]
        self.png = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict, dict]:
        return _shown(self.png, self.alt, {"width": 800})


def _shown(png: str, alt: str, size: Mapping[str, int] | None = None) -> tuple[dict, dict]:
    """What a notebook keeps of a picture: the pixels, and its text both as plain output and as alt text."""
    return {"image/png": png, "text/plain": alt}, {"image/png": {"alt": alt, **(size or {})}}


def _plot(
    title: str, alt: str, width: float = 7, height: float = 3.5, names: Sequence[str] = ()
) -> tuple[Picture, Axes]:
    """An empty picture, wide enough for its title, which begins behind the names at the left."""
    width = max(width, 1 + 0.095 * len(title) + 0.08 * max((len(str(name)) for name in names), default=0))
    figure = Picture(figsize=(width, height), layout="constrained")
    figure.alt = alt
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def heatmap(
    values: Tensor,
    title: str,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    row_label: str = "",
    column_label: str = "",
) -> Picture:
    """A matrix (R, C) as shades of blue; up to 12 x 12 with its numbers, and hidden entries (-inf, NaN) left white."""
    matrix = np.asarray(values.detach() if isinstance(values, Tensor) else values, float)
    height, width = matrix.shape
    longest = max((len(str(name)) for name in columns), default=0)
    inches = max(min(6.5, 0.62 * width), 0.095 * len(title)) / width  # of a column
    upright = 0.08 * longest > inches  # side by side the columns' names would overlap
    figure, axes = _plot(
        title,
        f"Heat map. {title}",
        2 + min(6.5, 0.62 * width),
        1.2 + min(5.5, 0.45 * height) + upright * 0.08 * longest,
        rows,
    )
    finite = matrix[np.isfinite(matrix)]
    image = axes.imshow(np.where(np.isfinite(matrix), matrix, np.nan), cmap="Blues", aspect="auto",
                        vmin=min(0.0, finite.min()), vmax=finite.max() * 1.1 or 1)  # fmt: skip
    axes.set(xlabel=column_label, ylabel=row_label)
    axes.set_xticks(range(len(columns)), columns, parse_math=False, rotation=90 if upright else 0)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    whole = (finite == finite.round()).all()
    if max(height, width) <= 12:
        for (row, column), value in np.ndenumerate(matrix):
            text = f"{round(value, 0 if whole else 2) + 0.0:.{0 if whole else 2}f}" if np.isfinite(value) else "–∞"
            text = "" if np.isnan(value) else text
            dark = np.isfinite(value) and image.norm(value) > 0.6
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    return figure


def bars(
    values: Mapping[str, float],
    title: str,
    unit: str = "",
    lines: Mapping[str, float] | None = None,
    errors: Mapping[str, float] | None = None,
) -> Picture:
    """Horizontal bars with their values, error bars of plus and minus where given, and dashed lines to compare with."""
    alt = f"Bar chart. {title} Bars: {', '.join(values)}." + (f" Lines: {', '.join(lines)}." if lines else "")
    figure, axes = _plot(title, alt, height=1.3 + 0.32 * len(values), names=list(values))
    spread = None if errors is None else [errors[name] for name in values]
    drawn = axes.barh(list(values), list(values.values()), color=BLUE, height=0.7, xerr=spread, capsize=3)
    axes.bar_label(drawn, fmt=_short_number, padding=3, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.12)
    _lines(axes, lines, axes.axvline)
    if lines:
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _short_number(value: float) -> str:
    """Three digits, and no powers of ten: 1,152 and 0.25, not 1.15e+03; what is too small to matter is <0.001."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return "<0.001" if 0 < value < 0.001 else f"{value:.3g}"


def curves(
    ways: Mapping[str, Sequence[float]],
    title: str,
    xlabel: str,
    ylabel: str,
    x: Sequence[float] | None = None,
    lines: Mapping[str, float] | None = None,
    log: bool = False,
) -> Picture:
    """Lines over the same x (0, 1, 2 ... by default), each with its own dash; more horizontal ones to compare with."""
    alt = f"Line chart. {title} Lines: {', '.join([*ways, *(lines or {})])}."
    figure, axes = _plot(title, alt)
    styles = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), ("black", ":"), ("#CC79A7", "-"), ("#56B4E9", "--"))
    for (label, values), (colour, dash) in zip(ways.items(), styles * 3, strict=False):
        axes.plot(range(len(values)) if x is None else x, values, dash, color=colour, linewidth=1.8, label=label)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        axes.set_yscale("log")
        if max(map(max, ways.values())) < 100 * min(map(min, ways.values())):
            _round_log_ticks(axes)
    axes.grid(alpha=0.2)
    _lines(axes, lines, axes.axhline)
    if len(ways) > 1 or lines:
        axes.legend(frameon=False, fontsize=9)
    return figure


def loglog(
    ways: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    xlabel: str,
    ylabel: str,
    band: tuple[Sequence[float], Sequence[float], Sequence[float]] | None = None,
    lines: Mapping[str, float] | None = None,
) -> Picture:
    """Lines and points, each (x, y), between two logarithmic axes; a band (x, lower, upper) in grey behind them."""
    figure, axes = _plot(
        title, f"Chart with two logarithmic axes. {title} Shown: {', '.join([*ways, *points])}.", height=4
    )
    if band is not None:
        axes.fill_between(*band, color=GREY, alpha=0.2, linewidth=0, label="band of the prediction")
    styles = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."))
    for (label, (x, y)), (colour, dash) in zip(ways.items(), styles, strict=False):
        axes.plot(x, y, dash, color=colour, linewidth=1.8, label=label)
    marks = (("black", "o"), (ORANGE, "D"), (GREEN, "s"))
    for (label, (x, y)), (colour, mark) in zip(points.items(), marks, strict=False):
        axes.plot(x, y, mark, color=colour, markersize=6, label=label)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log", yscale="log")
    axes.grid(alpha=0.2)
    _lines(axes, lines, axes.axhline)
    lowest, highest = axes.get_ylim()
    if highest < 100 * lowest:
        _round_log_ticks(axes, range(1, 10) if highest < 4 * lowest else (1, 2, 3, 5))
    axes.legend(frameon=False, fontsize=9)
    return figure


def ladder(results: Mapping[str, Mapping[str, float]], lines: Mapping[str, float] | None = None) -> Picture:
    """The course's chart: the loss of several models, in all and by kind of token.

    Args:
        results: {model: what `short_run` returned}.
        lines: horizontal lines in the panel of all tokens, {label: nats per token}.
    """
    parts = [part for part in ("all", *LABELS) if all(part in result for result in results.values())]
    figure = Picture(figsize=(9, 3.9), layout="constrained")
    # Not each model by its name: which are there depends on the chapters run so far, and an output must not.
    latest = list(results)[-1]
    figure.alt = (
        f"Bar chart: nats per token of the models up to {latest}, in all and by kind of token: {', '.join(parts)}."
    )
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False, width_ratios=[1.6, 1, 1, 1, 1][: len(parts)])[0]
    colours = ("#999999", "#56B4E9", BLUE, GREEN, ORANGE, "#CC79A7")
    for panel, part in zip(panels, parts, strict=True):
        heights = [result[part] for result in results.values()]
        drawn = panel.bar(range(len(results)), heights, color=colours[: len(results)], width=0.8)
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # a line may cross the number
        panel.bar_label(drawn, fmt="%.2f", fontsize=7.5 if len(results) < 6 else 6.5, padding=1, bbox=behind)
        panel.set_title({"all": "all tokens"}.get(part, part), fontsize=11, fontweight="bold")
        panel.set_xticks(range(len(results)), list(results), rotation=90, fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("nats per token")
    _lines(panels[0], lines, panels[0].axhline)
    if lines:
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=9
        )
    return figure


def token_rows(rows: Mapping[str, Sequence[tuple[bytes, int]]], show_bytes: bool = False) -> Picture:
    """A text cut into tokens in several ways: {way: (bytes, id) of each token}, with the id or the bytes below it."""
    width, lines = 100, []  # letters in a line; each line is a heading or some boxes (x, letters, text, text below)
    for way, tokens in rows.items():
        lines.append(f"{way}: {len(tokens)} tokens")
        boxes, x = [], 0
        for number, (token, place) in enumerate(tokens):
            text, below = visible(token), token.hex(" ") if show_bytes else str(place)
            letters = max(len(text), 0.75 * len(below)) + 0.6
            if boxes and x + letters > width:
                lines.append(boxes)
                boxes, x = [], 0
            boxes.append((x, letters, text, below, number % 2))
            x += letters
        lines.append(boxes)
    heights = [0.32 if isinstance(line, str) else 0.52 for line in lines]
    figure = Picture(figsize=(9.5, sum(heights) + 0.1))
    axes = figure.add_axes((0.01, 0, 0.98, 1))
    axes.set(xlim=(0, width), ylim=(sum(heights) + 0.05, -0.05))
    axes.axis("off")
    y = 0.0
    for line, height in zip(lines, heights, strict=True):
        if isinstance(line, str):
            axes.text(0, y + 0.2, line, fontsize=11, fontweight="bold", va="center")
        else:
            for x, letters, text, below, odd in line:
                tint = ("#CFE3F1", "#F8E3D6")[odd]
                box = (x + 0.1, y + 0.02), letters - 0.2, 0.27
                axes.add_patch(Rectangle(*box, facecolor=tint, edgecolor=GREY, linewidth=0.6))
                middle = x + letters / 2
                axes.text(
                    middle, y + 0.155, text, fontsize=9, family="monospace", parse_math=False, ha="center", va="center"
                )
                axes.text(
                    middle, y + 0.37, below, fontsize=6.5, family="monospace", ha="center", va="center", color=GREY
                )
        y += height
    told = (f"{way}: {' '.join(f'[{visible(token)}]' for token, _ in tokens)}" for way, tokens in rows.items())
    figure.alt = f"A text cut into tokens. {'. '.join(told)}."
    return figure


def visible(token: bytes) -> str:
    """A token as it can be drawn: a dot for each space, and in hexadecimal what has no letter in the font."""
    text = token.decode("utf-8", errors="replace").replace(" ", "·").replace("\n", "⏎")
    known = get_font(findfont("monospace")).get_charmap()
    drawable = text.isprintable() and "\ufffd" not in text and all(ord(letter) in known for letter in text)
    return text if drawable else token.hex(" ")


def next_token_bars(names: Sequence[str], as_trained: Sequence[float], now: Sequence[float]) -> Picture:
    """The likeliest next tokens: outlined as the model gives them, filled as the settings make them."""
    kept = sum(value > 0 for value in now)
    title = f"What comes next: {kept} of these {len(names)} can be drawn."
    figure, axes = _plot(title, f"Bar chart. {title} " + "; ".join(
        f"{name} {value:.0%}" if value else f"{name} cut" for name, value in zip(names, now, strict=True)
    ), height=5)  # fmt: skip
    places = range(len(names))
    axes.barh(places, now, color=BLUE, height=0.75, label="with these settings")
    axes.barh(places, as_trained, facecolor="none", edgecolor="black", linewidth=0.8, height=0.75, label="as trained")
    labels = [f"{value:.1%}" if value else "cut" for value in now]
    ends = [max(pair) for pair in zip(now, as_trained, strict=True)]
    for place, end, label in zip(places, ends, labels, strict=True):
        axes.text(end + 0.005, place, label, va="center", fontsize=8)
    axes.set_yticks(places, names, fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.set(xlabel="probability", xlim=(0, max(0.12, 1.12 * max(ends))))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _lines(axes: Axes, lines: Mapping[str, float] | None, draw: Any) -> None:
    for (label, value), style in zip((lines or {}).items(), ("--", ":", "-.", (0, (1, 4))) * 9, strict=False):
        draw(value, linestyle=style, color=GREY, linewidth=1.2, label=f"{label}: {value:.2f}")


def _round_log_ticks(axes: Axes, digits: Sequence[int] = (1, 2, 3, 5)) -> None:
    """Ticks at these digits and their tens: a loss rarely spans two decades, where ticks at tens alone say little."""
    axes.yaxis.set_major_locator(LogLocator(subs=digits))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def loss_curve(
    history: Sequence[Mapping[str, Any]],
    lines: Mapping[str, float] | None = None,
    path: str | Path | None = None,
    published: Mapping[int, float] | None = None,
) -> Picture:
    """Training and validation loss by iteration.

    Args:
        history: points as in `Run.history`.
        lines: more horizontal lines to compare with, {label: nats per token}; TinyWiki's floor is in the history.
        path: where to write the picture; the ending says the format.
        published: another run's validation loss to draw this one over, {iteration: nats per token}.
    """
    figure, axes = _plot("", "Line chart: training loss and held-out loss by iteration, in nats per token.", height=4)
    if published:
        axes.plot(list(published), list(published.values()), "D--", color=GREY, markersize=5, label="published")
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
    _lines(axes, lines, axes.axhline)
    axes.set(xlabel="iteration", ylabel="loss (nats per token)")
    if not published:  # a floor far below the first losses asks for a log scale; a published curve is compared by eye
        axes.set(yscale="log", ylabel="loss (nats per token, log scale)")
        _round_log_ticks(axes)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _smooth(values: Sequence[float]) -> np.ndarray:
    """A running mean over about a fiftieth of the curve; near the ends over what there is."""
    width = max(1, len(values) // 50)
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
