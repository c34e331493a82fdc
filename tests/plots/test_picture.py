"""What a notebook gets of a picture: pixels and alt text both, also for the drawings that come with the course."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sample_pictures import PICTURES

from tinyllm.plots import Drawing, figures_folder, picture

FIGURES = Path(__file__).parent.parent.parent / "figures"


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
