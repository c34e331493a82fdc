"""Charts of losses: a run's curve, and the ladder of models."""

import pytest
from sample_pictures import KINDS, PICTURES, written

from tinyllm.plots import ladder, loss_curve


def test_a_ladder_writes_its_values():
    assert written(PICTURES["ladder"]()) == ["1.50"] * 5
    assert len(PICTURES["own text"]().axes) == 1
    assert len(PICTURES["ladder"]().axes) == 5


def test_a_ladder_shows_the_kinds_that_all_models_have_and_names_only_the_latest():
    picture = ladder({"own": {"all": 2.0, "grammar": 1.0}, "bigram": dict.fromkeys(KINDS, 1.5)}, {"floor": 0.3})
    assert [axes.get_title() for axes in picture.axes] == ["all tokens", "grammar"]
    assert written(picture) == ["2.00", "1.50", "1.00", "1.50"]
    assert "up to bigram" in picture.alt and "own" not in picture.alt
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["floor: 0.30"]


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
