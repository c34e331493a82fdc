"""Matrices as shades of a colour."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from torch import Tensor

from tinyllm.plots.axes import longest, new_chart
from tinyllm.plots.picture import Picture

_MOST_NUMBERS = 12  # rows or columns; more numbers would not fit


def heatmap(
    values: Shaped[Tensor, "rows columns"] | Shaped[np.ndarray, "rows columns"],
    title: str,
    rows: Sequence[object] = (),
    columns: Sequence[object] = (),
    row_label: str = "",
    column_label: str = "",
    unit: str = "",
) -> Picture:
    """A matrix as shades of blue; up to 12 x 12 with its numbers. Hidden entries (-inf, NaN) are left white.

    Negative numbers are shades of red, and zero is white, unless all of them are next to nothing beside the largest.

    Args:
        rows: the names of the rows; none by default.
        columns: the names of the columns; none by default.
        unit: what the numbers are, for a key to the shades. A map without its numbers has a key in any case.
    """
    matrix = np.asarray(values.detach() if isinstance(values, Tensor) else values, float)
    height, width = matrix.shape
    name_width = 0.08 * longest(columns)  # inches, as all sizes here
    column_width = max(min(6.5, 0.62 * width), 0.095 * len(title)) / width
    upright = name_width > column_width  # side by side the columns' names would overlap
    chart_height = 1.2 + min(5.5, 0.45 * height) + upright * name_width
    numbered = max(height, width) <= _MOST_NUMBERS
    key = bool(unit) or not numbered
    figure, axes = new_chart(title, f"Heat map. {title}", 2 + key + min(6.5, 0.62 * width), chart_height, rows)
    finite = matrix[np.isfinite(matrix)]
    shown = np.where(np.isfinite(matrix), matrix, np.nan)
    colours, norm = _shades(finite)
    image = axes.imshow(shown, cmap=colours, aspect="auto", norm=norm)
    if key:
        shades = figure.colorbar(image, label=unit, pad=0.02)
        shades.ax.set_ylim(min(0.0, finite.min()), max(0.0, finite.max()))  # no shade that no number has
    axes.set(xlabel=column_label, ylabel=row_label)
    axes.set_xticks(range(len(columns)), list(map(str, columns)), parse_math=False, rotation=90 * upright)
    axes.set_yticks(range(len(rows)), list(map(str, rows)), parse_math=False)
    if numbered:
        _write_numbers(axes, float(norm.vmax or 1.0), matrix, decimals=0 if (finite == finite.round()).all() else 2)
    return figure


def _shades(finite: Float[np.ndarray, " _"]) -> tuple[str, Normalize]:
    """The colours, and which numbers they stand for. Below zero there are none for what would hardly be seen."""
    signed = bool(finite.min() < -0.01 * finite.max())
    most = float(abs(finite).max()) * 1.1 or 1.0
    return "RdBu" if signed else "Blues", Normalize(-most if signed else 0.0, most)


def _write_numbers(axes: Axes, most: float, matrix: Float[np.ndarray, "_ _"], decimals: int) -> None:
    """Each entry's number on its shade: empty text for NaN, and no minus before a zero."""
    for (row, column), entry in np.ndenumerate(matrix):
        value = float(entry)
        finite = np.isfinite(value)
        text = f"{round(value, decimals) + 0.0:.{decimals}f}" if finite else "" if np.isnan(value) else "–∞"
        colour = "white" if finite and abs(value) > 0.6 * most else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
