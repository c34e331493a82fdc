"""Charts of losses: a run's curve, and the ladder of models."""

import pytest
from sample_pictures import KINDS, PICTURES

from tinyllm.plots import ladder, loss_curve


def numbers(picture) -> list[str]:
    """The bars' names and numbers, which stand below them."""
    return [label.get_text() for axes in picture.axes for label in axes.get_xticklabels()]


def test_a_ladder_writes_its_values():
    assert numbers(PICTURES["ladder"]()) == ["bigram  1.50"] * 5
    assert len(PICTURES["own text"]().axes) == 1
    assert len(PICTURES["ladder"]().axes) == 5


def test_a_ladder_shows_the_kinds_that_all_models_have_and_names_only_the_latest():
    picture = ladder({"own": {"all": 2.0, "grammar": 1.0}, "bigram": dict.fromkeys(KINDS, 1.5)}, {"floor": 0.3})
    assert [axes.get_title() for axes in picture.axes] == ["all tokens", "grammar"]
    assert numbers(picture) == ["own  2.00", "bigram  1.50", "own  1.00", "bigram  1.50"]
    assert "up to bigram" in picture.alt and "own" not in picture.alt
    assert legend(picture) == ["floor: 0.30"]


def test_a_ladder_with_a_title_names_every_model():
    losses = dict.fromkeys(("all", "recall"), 1.5)
    picture = ladder({"32 wide": losses, "32 wide, longer": losses}, title="Recall is late.")
    said = "Recall is late. Nats per token of 32 wide, 32 wide, longer, in all and by kind of token: all, recall."
    assert picture.alt == f"Bar chart. {said}"
    assert picture.get_suptitle() == "Recall is late."


def test_a_ladder_of_several_seeds_shows_their_mean_and_standard_deviation_and_ones_own_run():
    seeds = {"bigram": {"all": [1.0, 3.0, 2.0], "recall": [4.0, 4.0, 4.0]}, "block": {"all": 0.5, "recall": 0.25}}
    picture = ladder(seeds, own={"block": {"all": 0.75, "recall": 0.25}, "GPT": {"all": 9.0, "recall": 9.0}})
    assert numbers(picture) == ["bigram  2.00", "block  0.50", "bigram  4.00", "block  0.25"]
    for axes, dot in zip(picture.axes, (0.75, 0.25), strict=True):
        assert axes.lines[-1].get_xydata().tolist() == [[1, dot]]  # none for a model that is not shown
    error_bar = picture.axes[0].collections[0].get_segments()[0]
    assert error_bar.tolist() == [[0, 1.0], [0, 3.0]]  # two up and down from the mean would be 0 and 4
    assert legend(picture) == ["your run", "mean of several runs, with their standard deviation"]


@pytest.mark.parametrize(
    ("losses", "more", "highest"),
    [
        (2.0, {}, 2.0),
        (2.0, {"lines": {"uniform": 7.0}}, 7.0),
        (2.0, {"own": {"bigram": {"all": 7.0, "recall": 1.0}}}, 7.0),
        ([1.0, 2.0, 3.0], {}, 3.0),  # the error bar ends there
    ],
)
def test_a_ladder_has_room_above_its_highest_mark(losses, more, highest):
    for axes in ladder({"bigram": {"all": losses, "recall": 1.0}}, **more).axes:
        assert axes.get_ylim() == (0, pytest.approx(1.12 * highest))


def test_each_panel_of_a_ladder_has_its_own_line():
    picture = ladder({"bigram": {"all": 2.0, "grammar": 1.0, "recall": 3.0}}, {"floor": {"all": 0.5, "grammar": 0.0}})
    assert [[line.get_ydata()[0] for line in axes.lines] for axes in picture.axes] == [[0.5], [0.0], []]
    assert legend(picture) == ["floor: 0.50"]


def legend(picture) -> list[str]:
    return [text.get_text() for text in picture.legends[0].get_texts()]


def test_a_loss_curve_is_drawn_over_a_published_one():
    history = [{"iteration": 0, "training_loss": 9.0}, {"iteration": 1, "validation_loss": 8.0}]
    other = loss_curve(history, published={0: 10.0, 1000: 5.0}).axes[0].lines[0]
    assert list(other.get_xdata()) == [0, 1000]
    assert list(other.get_ydata()) == [10.0, 5.0]
    assert "published" not in [line.get_label() for line in loss_curve(history).axes[0].lines]


def test_a_loss_curve_smooths_training_and_ends_at_the_latest_floor(tmp_path):
    history = [{"iteration": i, "training_loss": 4.0 + (-1) ** i} for i in range(200)]
    history += [{"iteration": i, "validation_loss": 3.0, "entropy_floor": 1 / (1 + i)} for i in (0, 100)]
    path = tmp_path / "curve.svg"
    raw, smooth, held_out, floor, other = loss_curve(history, {"uniform": 6.9}, path).axes[0].lines
    assert list(raw.get_ydata()) == [point["training_loss"] for point in history[:200]]
    assert smooth.get_ydata()[10:-10] == pytest.approx([4.0] * 180)  # a mean over four
    assert list(held_out.get_xdata()) == [0, 100]
    assert floor.get_label() == "entropy floor: 0.01"
    assert other.get_label() == "uniform: 6.90"
    assert "<svg" in path.read_text()
