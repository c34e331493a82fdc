"""The pictures README shows are the ones figures/draw.py draws today."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyllm import ModelConfig
from tinyllm.estimate import count_parameters
from tinyllm.tinywiki import LABELS

FIGURES = Path(__file__).parent.parent / "figures"


@pytest.fixture(scope="module")
def draw():
    spec = importlib.util.spec_from_file_location("draw", FIGURES / "draw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drawn(draw, tmp_path_factory) -> dict[str, Path]:
    return {path.name: path for path in draw.draw_all(tmp_path_factory.mktemp("figures"))}


def test_every_committed_picture_is_drawn_and_small(drawn):
    assert sorted(path.name for path in FIGURES.glob("*.png")) == sorted(drawn)
    for name in drawn:
        assert (FIGURES / name).stat().st_size < 120_000, name


def test_committed_pictures_are_the_ones_drawn_now(drawn):
    for name, path in drawn.items():
        # Means over 32 x 32 pixels. Letters that matplotlib 3.9 to 3.11 set differently move them by 9 of 255 at most;
        # a floor drawn at 0.34 for 0.32, losses 3% higher, a block less or another blue move one by 15 or more.
        fresh, committed = (np.asarray(Image.open(p).convert("RGB").reduce(32), float) for p in (path, FIGURES / name))
        assert fresh.shape == committed.shape, name
        assert np.abs(fresh - committed).max() < 12, f"{name} is not what draw.py draws: run python figures/draw.py"


def test_drawing_twice_gives_the_same_bytes(draw, drawn, tmp_path):
    for path in draw.draw_all(tmp_path):
        assert path.read_bytes() == drawn[path.name].read_bytes()


def words(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_architecture_picture_states_what_the_code_counts(draw):
    """Another model gives another picture: each number in it is counted, none is typed."""
    config = ModelConfig(
        vocab_size=9000, context_length=700, embedding_dim=96, num_layers=3, num_heads=4, feedforward_dim=160
    )
    attention, feedforward, norms = 4 * 96 * 97, 2 * 96 * 160 + 160 + 96, 4 * 96
    block = attention + feedforward + norms
    total = 9000 * 96 + 700 * 96 + 3 * block + 2 * 96
    assert total == count_parameters(config)
    found = words(draw.architecture(config))
    assert f"The reference model: {total:,} parameters" in found
    for number in (9000 * 96, 700 * 96, attention, feedforward):
        assert f"{number / 1e6:.2f}M" in found, number
    for text in ("3 × block", f"{block / 1e6:.2f}M each", "4 heads of 24", "96 → 160", "GELU → 96"):
        assert text in found, text
    assert any("T = 700 " in text and "C = 96 " in text and "V = 9,000 " in text for text in found)
    strip = (f"0.86M  ({9000 * 96 / total:.1%})", f"0.07M  ({700 * 96 / total:.1%})", f"({3 * block / total:.1%})")
    for share in strip:
        assert any(share in text for text in found), share
    reference = "".join(words(draw.architecture(ModelConfig())))
    for number in ("51,213,824", "50,257", "25.7M", "0.26M", "3.15M", "8 × block"):
        assert number in reference
        assert not any(number in text for text in found), number


def test_the_lines_of_the_measured_pictures_are_labelled_with_their_values(draw):
    numbers = json.loads(draw.NUMBERS.read_text()) | {"floor": 0.21, "forgetful": 0.87, "choice_floor": 1.43}
    curve, kinds = "\n".join(words(draw.loss_curve(numbers))), "\n".join(words(draw.kinds(numbers)))
    assert "floor  0.21" in curve
    assert "forgetful writer  0.87" in curve
    assert f"uniform guess  {np.log(numbers['vocab_size']):.2f}" in curve
    assert "floor  1.43" in kinds
    assert all(kind in kinds for kind in LABELS)


def test_the_measured_curve_is_a_real_one(draw):
    numbers = json.loads(draw.NUMBERS.read_text())
    assert numbers["iterations"][0] == 0
    assert len(numbers["training"]) == numbers["iterations"][-1]
    assert numbers["floor"] < numbers["held_out"][-1] < 1.1 * numbers["floor"]
    assert numbers["held_out"][0] == pytest.approx(np.log(numbers["vocab_size"]), rel=0.02)
    for kind, losses in numbers["by_label"].items():
        floor = numbers["choice_floor"] if kind == "choice" else 0
        assert floor < losses[-1] < floor + 0.1, kind
