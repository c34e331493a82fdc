"""The pictures in notebooks: pixels and words both, and the numbers drawn are those given."""

import base64

import pytest
import torch

from tinyllm.plots import Drawing, bars, curves, heatmap, ladder, loss_curve

KINDS = ("all", "grammar", "choice", "recall", "world")
PICTURES = {
    "heatmap": lambda: heatmap(torch.tensor([[1.0, -torch.inf], [0.25, 0.75]]), "Weights of two tokens.", "ab", "ab"),
    "bars": lambda: bars({"one": 1.0, "two": 2.0}, "Two bars.", "nats", {"floor": 0.5}),
    "curves": lambda: curves({"falling": [3.0, 2.0]}, "A curve.", "step", "nats", lines={"floor": 1.0}, log=True),
    "ladder": lambda: ladder({"bigram": dict.fromkeys(KINDS, 1.5)}, {"floor": 0.3}),
    "own text": lambda: ladder({"bigram": {"all": 1.5}}),
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


def test_bars_and_ladder_write_their_values():
    assert written(PICTURES["bars"]()) == ["1", "2"]
    assert written(PICTURES["ladder"]()) == ["1.50"] * 5
    assert len(PICTURES["own text"]().axes) == 1
    assert len(PICTURES["ladder"]().axes) == 5


def test_curves_draw_the_values_given_on_the_scale_asked_for():
    axes = PICTURES["curves"]().axes[0]
    assert axes.lines[0].get_ydata().tolist() == [3.0, 2.0]
    assert axes.lines[1].get_ydata() == [1.0, 1.0]
    assert axes.get_yscale() == "log"
    assert curves({"a": [1, 2]}, "A line.", "x", "y", x=[5, 9]).axes[0].lines[0].get_xdata().tolist() == [5, 9]


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
