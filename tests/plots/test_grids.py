"""A heat map: its numbers, what is hidden, and names that can be read."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from sample_pictures import PICTURES, written

from tinyllm.plots import heatmap


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
        axes = picture.axes[0]
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}
        picture.draw_without_rendering()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
        title = next(text for text in axes.findobj(Text) if "A title" in text.get_text())
        assert title.get_window_extent().x1 <= picture.bbox.x1


@pytest.mark.parametrize("hidden", [-torch.inf, torch.nan])
@pytest.mark.parametrize("shades", [[0.0, 1.0], [-1.0, 1.0]])
def test_hidden_entries_are_as_white_as_the_page_and_zero_is_not(hidden, shades):
    picture = heatmap(torch.tensor([[0.0, hidden], shades]), "")
    picture.set_dpi(100)
    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[::-1]
    axes = picture.axes[0]
    zero, empty = (drawn[*np.round(axes.transData.transform((x, -0.4)))[::-1].astype(int)] for x in (0, 1))
    assert (empty == 255).all()
    assert not (zero == 255).all()


def test_hidden_entries_are_left_without_a_number():
    assert written(heatmap(torch.tensor([[1.0, torch.nan], [0.25, 0.75]]), "Weights.")) == ["1.00", "", "0.25", "0.75"]


def test_an_array_is_drawn_as_a_tensor_is_and_the_largest_number_is_the_darkest():
    values = np.array([[0.0, 1.0], [4.0, 2.0]])
    pictures = heatmap(values, "Shades."), heatmap(torch.from_numpy(values).requires_grad_(), "Shades.")
    assert pictures[0].base64_png() == pictures[1].base64_png()
    axes = pictures[0].axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), values)
    assert [text.get_color() for text in axes.texts] == ["black", "black", "white", "black"]


def test_a_vector_is_no_matrix():
    with pytest.raises(Exception, match="values"):  # the shape in the type, checked while the tests run
        heatmap(torch.ones(3), "A vector.")


def test_negative_numbers_are_red_and_zero_is_white():
    """Zero stands in the middle of the map, whichever side is larger."""
    axes = heatmap(torch.tensor([[-1.0, 0.0], [0.5, 4.0]]), "Signed.").axes[0]
    shown = axes.images[0]
    red, white, blue = shown.cmap(shown.norm([-4.0, 0.0, 4.0]))[:, :3]
    assert red[0] > 2 * red[2] and blue[2] > 2 * blue[0] and white.min() > 0.95
    assert [text.get_color() for text in axes.texts] == ["black", "black", "black", "white"]
    assert heatmap(torch.tensor([[-3.0, 1.0]]), "Signed.").axes[0].texts[0].get_color() == "white"
    for values in (torch.eye(2), torch.tensor([[1.0, -1e-6]])):
        assert heatmap(values, "Not signed.").axes[0].images[0].cmap.name == "Blues"


def test_a_unit_brings_a_key():
    assert len(heatmap(torch.eye(12), "Its numbers are in it.").axes) == 1
    assert len(heatmap(torch.eye(13), "Without a key nobody could read it.").axes) == 2
    key = heatmap(torch.eye(2), "A key.", unit="nats").axes[1]
    assert key.get_ylabel() == "nats"


@pytest.mark.parametrize("values", [[[0.0, 1.0]], [[-3.0, 2.0]], [[-1.0, -2.0]]])
def test_the_key_has_the_shades_that_numbers_have(values):
    key = heatmap(np.array(values), "Numbers.", unit="nats").axes[1]
    assert key.get_ylim() == (min(0.0, *values[0]), max(0.0, *values[0]))
