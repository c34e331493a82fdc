"""What all charts share: a whole title, lines to compare with, and ticks on a logarithmic axis."""

import pytest
import torch

from tinyllm.plots import heatmap
from tinyllm.plots.axes import compare_with, longest, new_chart, round_log_ticks


def test_the_title_is_not_cut_off():
    title = "A rather long sentence over a rather narrow matrix of numbers."
    figure = heatmap(torch.eye(2), title)
    figure.draw_without_rendering()
    assert figure.axes[0].title.get_window_extent().x1 <= figure.bbox.x1


def test_the_chart_grows_with_its_title_and_its_names():
    figure, axes = new_chart("Short.", "The alt text.", width=4, height=3)
    assert (figure.get_size_inches().tolist(), figure.alt, axes.get_title(loc="left")) == (
        [4, 3], "The alt text.", "Short.",
    )  # fmt: skip
    wide, _ = new_chart("S" * 60, "")
    wider, _ = new_chart("S" * 60, "", names=["n" * 30, 1.5])
    assert 7 <= wide.get_size_inches()[0] < wider.get_size_inches()[0] - 2


def test_the_longest_name_counts_as_it_is_written():
    assert longest(["a", 1234, 0.5]) == 4
    assert longest([]) == 0


def test_lines_to_compare_with_have_their_value_in_the_legend_and_differ_in_dash():
    _, axes = new_chart("Lines.", "")
    compare_with(axes.axvline, {"floor": 0.25, "uniform": 6.931})
    floor, uniform = axes.lines
    assert (floor.get_label(), uniform.get_label()) == ("floor: 0.25", "uniform: 6.93")
    assert list(floor.get_xdata()) == [0.25, 0.25]
    assert floor.get_linestyle() != uniform.get_linestyle()
    compare_with(axes.axvline, None)
    assert len(axes.lines) == 2


@pytest.mark.parametrize(("digits", "ticks"), [((1, 2, 3, 5), [2, 3, 5, 10]), ((1, 4), [4, 10])])
def test_logarithmic_ticks_are_round_numbers(digits, ticks):
    figure, axes = new_chart("Ticks.", "")
    axes.set(yscale="log", ylim=(2, 11))
    round_log_ticks(axes, digits)
    figure.draw_without_rendering()
    shown = [text.get_text() for text in axes.get_yticklabels() if 2 <= text.get_position()[1] <= 11]
    assert shown == [f"{tick:g}" for tick in ticks]
    assert list(axes.yaxis.get_minorticklocs()) == []
