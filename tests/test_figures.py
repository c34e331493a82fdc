"""The pictures README shows are the ones figures/draw.py draws today."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyllm import ModelConfig
from tinyllm.estimate import count_parameters

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
        fresh, committed = (np.asarray(Image.open(p).convert("RGB"), float) for p in (path, FIGURES / name))
        assert fresh.shape == committed.shape, name
        assert np.abs(fresh - committed).mean() < 4, name  # of 255: fonts may be set a little differently


def test_drawing_twice_gives_the_same_bytes(draw, drawn, tmp_path):
    for path in draw.draw_all(tmp_path):
        assert path.read_bytes() == drawn[path.name].read_bytes()


def test_the_architecture_picture_states_what_the_code_counts(draw):
    config = ModelConfig(vocab_size=1000, context_length=64, embedding_dim=32, num_layers=3, num_heads=2)
    figure = draw.architecture(config)
    words = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert f"{count_parameters(config):,} parameters" in words
    assert "V = 1,000" in words
    assert re.search(r"3\s*×\s*block", words)


def test_the_measured_curve_is_a_real_one(draw):
    numbers = json.loads(draw.NUMBERS.read_text())
    assert numbers["iterations"][0] == 0
    assert len(numbers["training"]) == numbers["iterations"][-1]
    assert numbers["floor"] < numbers["held_out"][-1] < 1.1 * numbers["floor"]
    assert numbers["held_out"][0] == pytest.approx(np.log(numbers["vocab_size"]), rel=0.02)
