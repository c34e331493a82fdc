"""What all charts share: an empty one with its title, lines to compare with, and readable logarithmic ticks."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from tinyllm.plots.picture import GREY, Picture


def new_chart(
    title: str, alt: str, width: float = 7, height: float = 3.5, names: Sequence[object] = ()
) -> tuple[Picture, Axes]:
    """An empty chart in inches, wide enough for its title, which begins to the right of the names."""
    width = max(width, 1 + 0.095 * len(title) + 0.08 * longest(names))
    figure = Picture(figsize=(width, height), layout="constrained")
    figure.alt = alt
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def longest(names: Sequence[object]) -> int:
    """The characters of the longest line in the names; 0 without names."""
    return max((len(line) for name in names for line in str(name).splitlines()), default=0)


def compare_with(draw: Callable[..., Line2D], lines: Mapping[str, float] | None) -> None:
    """Grey lines, each with its own dash and its value in the legend; `draw` is `axes.axhline` or `axes.axvline`."""
    for (label, value), style in zip((lines or {}).items(), ("--", ":", "-.", (0, (1, 4))) * 9, strict=False):
        draw(value, linestyle=style, color=GREY, linewidth=1.2, label=f"{label}: {value:.2f}")


def round_log_ticks(axes: Axes, digits: Sequence[float] = (1, 2, 3, 5), along: str = "y") -> None:
    """Ticks at these digits times powers of ten: a loss rarely spans two decades, and powers alone would say little."""
    axis = axes.yaxis if along == "y" else axes.xaxis
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axis.set_minor_locator(NullLocator())
