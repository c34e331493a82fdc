"""Bars and lines."""

import math
from collections.abc import Mapping, Sequence

from tinyllm.plots.axes import compare_with, new_chart, round_log_ticks
from tinyllm.plots.picture import BLUE, GREEN, GREY, ORANGE, Picture

Points = tuple[Sequence[float], Sequence[float]]
"""The x and the y of some points."""


def bars(
    values: Mapping[str, float],
    title: str,
    unit: str = "",
    lines: Mapping[str, float] | None = None,
    errors: Mapping[str, float] | None = None,
) -> Picture:
    """Horizontal bars with their values, error bars of plus and minus where given, and dashed lines to compare with."""
    alt = f"Bar chart. {title} Bars: {', '.join(values)}." + (f" Lines: {', '.join(lines)}." if lines else "")
    figure, axes = new_chart(title, alt, height=1.3 + 0.32 * len(values), names=list(values))
    spread = None if errors is None else [errors[name] for name in values]
    drawn = axes.barh(list(values), list(values.values()), color=BLUE, height=0.7, xerr=spread, capsize=3)
    on_white = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # where a line to compare with runs through it
    axes.bar_label(drawn, _short_numbers(list(values.values())), padding=3, fontsize=9, bbox=on_white)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.12)
    compare_with(axes.axvline, lines)
    if lines:
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _short_numbers(values: Sequence[float]) -> list[str]:
    """Three digits each, at most three decimals, none for whole numbers: 1,152, 12.0, 0.250 and 0.002.

    A small share is <0.001. Zeros at the end stay, so that 1.30 and 1.33 are read alike.
    """
    whole = all(value == round(value) for value in values)
    return [_short_number(value, whole) for value in values]


def _short_number(value: float, whole: bool) -> str:
    if 0 < value < 0.001:
        return "<0.001"
    value = round(value, 3) + 0.0  # no minus before a zero
    decimals = 0 if whole or value == 0 else min(3, max(0, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:,.{decimals}f}"


def curves(
    series: Mapping[str, Sequence[float]],
    title: str,
    xlabel: str,
    ylabel: str,
    x: Sequence[float] | None = None,
    lines: Mapping[str, float] | None = None,
    log: bool = False,
) -> Picture:
    """Lines over the same x (default 0, 1, 2 ...), each with its own dash, and horizontal ones to compare with."""
    alt = f"Line chart. {title} Lines: {', '.join([*series, *(lines or {})])}."
    figure, axes = new_chart(title, alt)
    styles = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), ("black", ":"), ("#CC79A7", "-"), ("#56B4E9", "--"))
    for (label, values), (colour, dash) in zip(series.items(), styles * 3, strict=False):
        axes.plot(range(len(values)) if x is None else x, values, dash, color=colour, linewidth=1.8, label=label)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        axes.set_yscale("log")
        if max(map(max, series.values())) < 100 * min(map(min, series.values())):
            round_log_ticks(axes)
    axes.grid(alpha=0.2)
    compare_with(axes.axhline, lines)
    if len(series) > 1 or lines:
        axes.legend(frameon=False, fontsize=9)
    return figure


def loglog(
    series: Mapping[str, Points],
    points: Mapping[str, Points],
    title: str,
    xlabel: str,
    ylabel: str,
    band: tuple[Sequence[float], Sequence[float], Sequence[float]] | None = None,
    lines: Mapping[str, float] | None = None,
) -> Picture:
    """Lines and points between two logarithmic axes, over a grey band (x, lower, upper) if one is given.

    Points with the name of a line are that line's own, and drawn in its colour.
    """
    other_points = {label: dots for label, dots in points.items() if label not in series}
    alt = f"Chart with two logarithmic axes. {title} Shown: {', '.join([*series, *other_points])}."
    figure, axes = new_chart(title, alt, height=4)
    if band is not None:
        axes.fill_between(*band, color=GREY, alpha=0.2, linewidth=0, label="band of the prediction")
    styles = ((BLUE, "-", "o"), (ORANGE, "--", "D"), (GREEN, "-.", "s"), ("black", ":", "^"))
    for (label, line), (colour, dash, marker) in zip(series.items(), styles, strict=False):
        axes.plot(*line, dash, color=colour, linewidth=1.8, label=label)
        if label in points:
            axes.plot(*points[label], marker, color=colour, markersize=6)
    markers = (("black", "o"), (ORANGE, "D"), (GREEN, "s"), (BLUE, "^"))
    for (label, dots), (colour, marker) in zip(other_points.items(), markers, strict=False):
        axes.plot(*dots, marker, color=colour, markersize=6, label=label)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log", yscale="log")
    axes.grid(alpha=0.2)
    compare_with(axes.axhline, lines)
    lowest, highest = axes.get_ylim()
    if highest < 100 * lowest:
        round_log_ticks(axes, (1, 1.2, 1.5, *range(2, 10)) if highest < 4 * lowest else (1, 2, 3, 5))
    left, right = axes.get_xlim()
    if right < 100 * left:  # matplotlib's own labels, such as 3 x 10^5 and 4 x 10^5, would overlap
        round_log_ticks(axes, (1, 2, 5), along="x")
    if lines:
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    else:
        axes.legend(edgecolor="none", fontsize=9)  # its white ground keeps lines out of its words
    return figure


def places(
    series: Mapping[str, Points],
    points: Mapping[str, Points],
    title: str,
    xlabel: str,
    ylabel: str,
) -> Picture:
    """Where points lie beside lines, between two plain axes: each group of points has a marker of its own."""
    alt = f"Chart of lines and points. {title} Lines: {', '.join(series)}."
    figure, axes = new_chart(title, alt + (f" Points: {', '.join(points)}." if points else ""), height=4)
    for (label, line), (colour, dash) in zip(
        series.items(), ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-.")), strict=False
    ):
        axes.plot(*line, dash, color=colour, linewidth=1.8, label=label)
    markers = (("black", "o"), (ORANGE, "D"), (GREEN, "s"), ("#CC79A7", "^"), ("#56B4E9", "v"), (GREY, "x"))
    for (label, dots), (colour, marker) in zip(points.items(), markers, strict=False):
        axes.plot(*dots, marker, color=colour, markersize=6, label=label)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.2)
    axes.legend(edgecolor="none", fontsize=9)  # its white ground keeps lines out of its words
    return figure
