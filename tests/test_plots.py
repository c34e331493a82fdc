"""The pictures in notebooks: pixels and words both, and the numbers drawn are those given."""

import base64
from itertools import pairwise

import pytest
import torch
from matplotlib.text import Text

from tinyllm.plots import (
    Drawing,
    bars,
    curves,
    heatmap,
    ladder,
    loglog,
    loss_curve,
    next_token_bars,
    token_rows,
    visible,
)

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
    "ladder": lambda: ladder({"bigram": dict.fromkeys(KINDS, 1.5)}, {"floor": 0.3}),
    "own text": lambda: ladder({"bigram": {"all": 1.5}}),
    "tokens": lambda: token_rows({"two ways": [(b"ab", 7), (b" c", 300)], "bytes": [(b"\xf0", 0)]}),
    "next": lambda: next_token_bars(["a", "b"], [0.75, 0.25], [1.0, 0.0]),
    "drawing": lambda: Drawing("attention_row"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_gets_a_png_and_words(name):
    data, metadata = PICTURES[name]()._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert len(data["text/plain"]) > 20
    assert metadata["image/png"]["alt"] == data["text/plain"]


def written(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_heatmap_writes_its_numbers_and_marks_what_is_hidden():
    assert written(PICTURES["heatmap"]()) == ["1.00", "–∞", "0.25", "0.75"]
    assert written(heatmap(torch.tensor([[3.0, 10.0]]), "Counts.")) == ["3", "10"]
    assert written(heatmap(torch.rand(13, 13), "Too many to read.")) == []
    assert written(heatmap(torch.eye(2), "Named by numbers.", [0.5, 1.0], [0.5, 1.0])) == ["1", "0", "0", "1"]
    assert written(heatmap(torch.tensor([[-0.001, 0.5], [0.25, -0.25]]), "No minus zero.")) == [
        "0.00",
        "0.50",
        "0.25",
        "-0.25",
    ]


def test_a_heatmaps_names_do_not_overlap_and_its_title_is_whole():
    names = [f"token {number}" for number in range(13)]
    figure = heatmap(
        torch.rand(13, 13), "A title that is longer than the map of two columns would be wide.", names, names
    )
    few = heatmap(
        torch.rand(2, 2), "A title that is longer than the map of two columns would be.", names[:2], ["a", "b"]
    )
    for picture, rotation in ((figure, 90), (few, 0)):
        (axes,) = picture.axes
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}
        picture.draw_without_rendering()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
        title = next(text for text in axes.findobj(Text) if "A title" in text.get_text())
        assert title.get_window_extent().x1 <= picture.bbox.x1


def test_bars_and_ladder_write_their_values():
    assert written(PICTURES["bars"]()) == ["1", "2"]
    assert written(bars({"a": 1152.0, "b": 0.25, "c": 3e-5, "d": 0.0}, "Bars.")) == ["1,152", "0.25", "<0.001", "0"]
    assert written(PICTURES["ladder"]()) == ["1.50"] * 5
    assert len(PICTURES["own text"]().axes) == 1
    assert len(PICTURES["ladder"]().axes) == 5


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


def test_a_loss_curve_is_drawn_over_a_published_one():
    history = [{"iteration": 0, "training_loss": 9.0}, {"iteration": 1, "validation_loss": 8.0}]
    other = loss_curve(history, published={0: 10.0, 1000: 5.0}).axes[0].lines[0]
    assert list(other.get_xdata()) == [0, 1000]
    assert list(other.get_ydata()) == [10.0, 5.0]
    assert "published" not in [line.get_label() for line in loss_curve(history).axes[0].lines]


def test_the_title_is_not_cut_off():
    title = "A rather long sentence over a rather narrow matrix of numbers."
    figure = heatmap(torch.eye(2), title)
    figure.draw_without_rendering()
    assert figure.axes[0].title.get_window_extent().x1 <= figure.bbox.x1


def test_hidden_entries_are_left_without_a_number():
    assert written(heatmap(torch.tensor([[1.0, torch.nan], [0.25, 0.75]]), "Weights.")) == ["1.00", "", "0.25", "0.75"]


def test_tokens_stand_in_boxes_with_their_ids_or_bytes_below():
    assert written(PICTURES["tokens"]()) == ["two ways: 2 tokens", "ab", "7", "·c", "300", "bytes: 1 tokens", "f0", "0"]
    assert "61 62" in written(token_rows({"one": [(b"ab", 7)]}, show_bytes=True))
    long = token_rows({"one": [(b"word", 1)] * 200})
    boxes = long.axes[0].patches
    assert len(boxes) == 200
    assert max(box.get_x() + box.get_width() for box in boxes) <= 100  # a new line begins where one is full
    assert len({box.get_y() for box in boxes}) > 3


def test_a_token_without_letters_in_the_font_is_shown_as_bytes():
    assert [visible(token) for token in (b" a\n", "é".encode(), "🙂".encode(), b"\xc3", b"\0")] == [
        "·a⏎", "é", "f0 9f 99 82", "c3", "00",
    ]  # fmt: skip


def test_next_token_bars_say_what_is_cut():
    picture = PICTURES["next"]()
    assert "1 of these 2 can be drawn" in picture.alt
    assert "b cut" in picture.alt
    assert written(picture) == ["100.0%", "cut"]
