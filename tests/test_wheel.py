"""A built wheel ships the whole package and its pictures, and not the scripts that draw them."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tinyllm.text.sources import SHIPPED

ROOT = Path(__file__).parent.parent
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"  # needs no network


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> set[str]:
    """The names of the files in a wheel, built from a copy: building writes into the sources' folder."""
    sources, wheels = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheels")
    for folder in ("tinyllm", "figures"):
        shutil.copytree(ROOT / folder, sources / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, sources)
    command = [sys.executable, "-c", BUILD, str(wheels)]
    built = subprocess.run(command, cwd=sources, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = wheels.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_module_of_the_package_is_shipped_and_no_other(shipped):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tinyllm").rglob("*.py")}
    assert {name for name in shipped if name.endswith(".py")} == modules
    assert "tinyllm/py.typed" in shipped


def test_the_pictures_are_shipped_with_alt_texts_and_the_numbers_on_show_and_without_the_scripts(shipped):
    pictures = {f"tinyllm/figures/{path.name}" for path in (ROOT / "figures").glob("*.png")}
    assert len(pictures) > 10
    numbers = {f"tinyllm/figures/{name}.json" for name in ("alt", "full_run", "ladder", "scaling")}
    assert {name for name in shipped if name.startswith("tinyllm/figures/")} == {*pictures, *numbers}


def test_the_texts_that_come_with_the_package_are_shipped_and_beside_each_where_it_is_from(shipped):
    for path in SHIPPED.values():
        assert {f"tinyllm/text/{path.name}", f"tinyllm/text/{path.name.partition('.')[0]}.md"} <= shipped


def test_nothing_else_is_shipped(shipped):
    assert {name.split("/")[0].partition("-")[0] for name in shipped} == {"tinyllm", "tinyllm_course"}
