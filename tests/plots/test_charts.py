"""Bars and lines: the values drawn are those given."""

from itertools import pairwise

import pytest
from sample_pictures import PICTURES, written

from tinyllm.plots import bars, curves, loglog, places


def test_bars_write_their_values():
    assert written(PICTURES["bars"]()) == ["1", "2"]
    assert written(bars({"a": 1152.0, "b": 0.25, "c": 3e-5, "d": 0.0}, "Bars.")) == ["1,152", "0.250", "<0.001", "0"]


def test_a_line_to_compare_with_does_not_strike_through_a_value():
    (label,) = [text for text in bars({"a": 1.0}, "A bar.", lines={"floor": 1.02}).axes[0].texts if text.get_text()]
    assert label.get_bbox_patch().get_facecolor() == (1, 1, 1, 1)
    assert label.get_zorder() > 2  # that of a line


def test_curves_draw_the_values_given_on_the_scale_asked_for():
    axes = PICTURES["curves"]().axes[0]
    assert axes.lines[0].get_ydata().tolist() == [3.0, 2.0]
    assert axes.lines[1].get_ydata() == [1.0, 1.0]
    assert axes.get_yscale() == "log"
    assert curves({"a": [1, 2]}, "A line.", "x", "y", x=[5, 9]).axes[0].lines[0].get_xdata().tolist() == [5, 9]


def test_a_loglog_draws_lines_points_and_a_band_with_ticks_to_read_them_by():
    axes = PICTURES["loglog"]().axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    law, runs, floor = axes.lines
    assert (list(law.get_xdata()), list(law.get_ydata())) == ([1, 100], [0.9, 0.7])
    assert (list(runs.get_ydata()), runs.get_linestyle()) == ([0.9, 0.8, 0.7], "None")
    assert floor.get_ydata() == [0.5, 0.5]
    (band,) = axes.collections
    low, high = band.get_paths()[0].get_extents().get_points()[:, 1]
    assert (low, high) == pytest.approx((0.6, 0.95))
    lowest, highest = axes.get_ylim()
    assert sum(lowest <= tick <= highest for tick in axes.get_yticks()) >= 4
    wide = loglog({"roof": ([1, 10], [1, 1e4])}, {}, "A wide one.", "x", "y").axes[0]
    assert wide.get_ylim()[1] > 1000


def test_points_with_the_name_of_a_line_have_its_colour_and_no_name_of_their_own():
    lines = {"short": ([1, 9], [2, 1]), "long": ([1, 9], [1, 0.5])}
    picture = loglog(lines, {"long": ([3], [0.8]), "another": ([4], [2])}, "Two.", "x", "y", lines={"floor": 0.3})
    _, long, dots, another, _ = picture.axes[0].lines
    assert (dots.get_xdata().tolist(), dots.get_color()) == ([3], long.get_color())
    assert another.get_color() != long.get_color()
    assert picture.alt.endswith("Shown: short, long, another.")
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["short", "long", "another", "floor: 0.30"]


def test_a_loglog_of_less_than_two_decades_has_round_numbers_below_it_that_do_not_touch():
    picture = loglog({"law": ([20_000, 700_000], [2, 1])}, {}, "Sizes.", "weights", "nats")
    picture.draw_without_rendering()
    low, high = picture.axes[0].get_xlim()
    labels = [text for text in picture.axes[0].get_xticklabels() if low <= text.get_position()[0] <= high]
    assert [text.get_text() for text in labels] == ["20,000", "50,000", "100,000", "200,000", "500,000"]
    boxes = [text.get_window_extent() for text in labels]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_bars_have_their_errors_and_name_their_lines():
    picture = bars({"a": 3.0, "b": 1.0}, "Bars.", "nats", {"floor": 0.5}, errors={"b": 0.25, "a": 0.5})
    (spread,) = picture.axes[0].collections
    assert [segment[:, 0].tolist() for segment in spread.get_segments()] == [[2.5, 3.5], [0.75, 1.25]]
    assert picture.alt == "Bar chart. Bars. Bars: a, b. Lines: floor."
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["floor: 0.50"]


def test_curves_over_two_decades_have_ticks_at_powers_of_ten_only():
    near = curves({"a": [1.0, 9.0]}, "Near.", "x", "y", log=True).axes[0]
    far = curves({"a": [1.0, 900.0]}, "Far.", "x", "y", log=True).axes[0]
    assert 5 in near.get_yticks() and 5 not in far.get_yticks()
    assert near.get_legend() is None  # one curve needs none
    assert curves({"a": [1.0], "b": [2.0]}, "Two.", "x", "y").axes[0].get_legend() is not None


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([1.3, 1.33], ["1.30", "1.33"]),
        ([0.15, 0.119, 0.0374], ["0.150", "0.119", "0.037"]),
        ([3, 12, 1152], ["3", "12", "1,152"]),
        ([1234.5, 67.25, 0.0], ["1,234", "67.2", "0"]),
        ([0.0004, 0.5, -0.0004], ["<0.001", "0.500", "0"]),
    ],
)
def test_the_numbers_of_bars_have_as_many_digits(values, written):
    picture = bars({str(index): value for index, value in enumerate(values)}, "Bars.")
    assert [text.get_text() for text in picture.axes[0].texts] == written


def test_places_draw_lines_and_points_between_plain_axes():
    picture = PICTURES["places"]()
    (axes,) = picture.axes
    line, dots = axes.lines
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    assert (list(line.get_xdata()), list(line.get_ydata()), line.get_marker()) == ([0, 2], [1, 3], "None")
    assert (list(dots.get_xdata()), list(dots.get_ydata()), dots.get_linestyle()) == ([1, 2], [0, 1], "None")
    assert picture.alt == "Chart of lines and points. Places. Lines: line. Points: dots."
    assert places({"line": ([0, 1], [0, 1])}, {}, "One.", "x", "y").alt.endswith("Lines: line.")
    many = places({}, {name: ([1], [1]) for name in "abcde"}, "Five.", "x", "y").axes[0].lines
    assert len({(line.get_marker(), line.get_color()) for line in many}) == 5
