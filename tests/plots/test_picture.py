"""What a notebook gets of a picture: pixels and alt text both, also for the drawings that come with the course."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sample_pictures import PICTURES

from tinyllm.plots import Drawing, Picture, figures_folder, heatmap, picture
from tinyllm.plots.picture import flat_png

FIGURES = Path(__file__).parent.parent.parent / "figures"


def pixels(of: Picture | Drawing) -> np.ndarray:
    """Red, green, blue and opacity of each pixel of what a notebook gets."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(of._repr_mimebundle_()[0]["image/png"]))).convert("RGBA"))


@pytest.mark.parametrize("name", PICTURES)
def test_it_is_a_white_card_of_two_pixels_for_each_that_a_page_shows(name):
    """Round corners on a page of any colour, and nothing but white near the edge."""
    shown = pixels(PICTURES[name]())
    height, width, _ = shown.shape
    assert width == 2 * PICTURES[name]()._repr_mimebundle_()[1]["image/png"]["width"]
    assert shown[[0, 0, -1, -1], [0, -1, 0, -1], 3].tolist() == [0] * 4
    middle, rim = shown[height // 2, width // 2], 20
    assert middle[3] == 255
    if name != "drawing":  # a drawing's card has a thin line around it
        for edge in (shown[:rim, 24:-24], shown[-rim:, 24:-24], shown[24:-24, :rim], shown[24:-24, -rim:]):
            assert (edge == 255).all()


def test_a_picture_of_many_colours_keeps_them():
    """A map of hundreds of shades is drawn with 255: each is near its own."""
    picture = heatmap(torch.linspace(-1, 1, 900).view(30, 30), "Shades.", unit="nats")
    buffer = io.BytesIO()
    picture.savefig(buffer, dpi=200, facecolor="white")
    exact = np.asarray(Image.open(buffer).convert("RGB"), int)
    near = pixels(picture)[24:-24, 24:-24, :3].astype(int)[: len(exact)]
    assert np.quantile(np.abs(near - exact), 0.99) <= 8
    assert len(base64.b64decode(picture.base64_png())) < buffer.getbuffer().nbytes


def test_half_of_a_colour_is_on_white_and_less_is_nothing():
    picture = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (255, 0, 0, 128))
    picture.putpixel((2, 0), (255, 0, 0, 127))
    flat = Image.open(io.BytesIO(flat_png(picture, 4)))
    assert flat.mode == "P"
    red, pale, none = np.asarray(flat.convert("RGBA"))[0].tolist()
    assert (red, none[3]) == ([255, 0, 0, 255], 0)
    assert pale == [255, 127, 127, 255]


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_gets_a_png_and_words(name):
    data, metadata = PICTURES[name]()._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert len(data["text/plain"]) > 20
    assert metadata["image/png"]["alt"] == data["text/plain"]


def test_drawing_a_picture_opens_no_pyplot():
    code = "import sys; from sample_pictures import PICTURES as p; p['bars']().base64_png(); print(*sys.modules)"
    path = os.pathsep.join([*map(str, Path(__file__).parents[1:3]), os.environ["PYTHONPATH"]])
    printed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path},
                             capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert "tinyllm.plots.charts" in printed.split()
    assert "matplotlib.pyplot" not in printed.split()


def test_a_drawing_is_the_committed_file_with_its_alt_text():
    drawing = Drawing("heads")
    assert base64.b64decode(drawing.png) == (FIGURES / "heads.png").read_bytes()
    assert drawing.alt == json.loads((FIGURES / "alt.json").read_text(encoding="utf-8"))["heads.png"]
    assert drawing._repr_mimebundle_()[1]["image/png"]["width"] == 800
    with pytest.raises(KeyError):
        Drawing("no such drawing")


def test_an_installed_package_finds_its_drawings_inside_itself(tmp_path, monkeypatch):
    installed = tmp_path / "tinyllm"
    (installed / "figures").mkdir(parents=True)
    shutil.copy(FIGURES / "kinds.png", installed / "figures" / "own.png")
    (installed / "figures" / "alt.json").write_text('{"own.png": "as installed"}', encoding="utf-8")
    monkeypatch.setattr(picture, "_PACKAGE", installed)
    assert Drawing("own").alt == "as installed"
    assert figures_folder() == installed / "figures"
