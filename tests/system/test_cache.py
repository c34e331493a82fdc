"""The cache folder: where the environment says, and one clear line where there is none."""

import errno
import os
from pathlib import Path

import pytest

from tinyllm.system.cache import home, not_writable


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path) -> Path:
    """No setting, and a home folder of its own."""
    for name in ("TINYLLM_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_by_default_it_is_in_the_users_cache_folder(environment, monkeypatch):
    assert home() == environment / ".cache" / "tinyllm"
    monkeypatch.setenv("XDG_CACHE_HOME", str(environment / "elsewhere"))
    assert home() == environment / "elsewhere" / "tinyllm"


def test_the_environment_decides(environment, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(environment / "elsewhere"))
    monkeypatch.setenv("TINYLLM_HOME", str(environment / "mine"))
    assert home() == environment / "mine"
    monkeypatch.setenv("TINYLLM_HOME", "~/mine")
    assert home() == environment / "mine"
    monkeypatch.setenv("TINYLLM_HOME", "")
    assert home() == environment / "elsewhere" / "tinyllm"


def test_asking_creates_nothing(environment):
    home()
    assert list(environment.iterdir()) == []


def test_without_a_home_folder_the_way_out_is_named(monkeypatch):
    def no_home(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(OSError, match="no home folder; set TINYLLM_HOME"):
        home()


def test_a_folder_that_cannot_be_written_is_named_with_the_reason_and_the_way_out():
    error = not_writable(Path("somewhere"), OSError(errno.EROFS, os.strerror(errno.EROFS)))
    assert isinstance(error, OSError)
    assert str(error) == "somewhere cannot be written (Read-only file system); set TINYLLM_HOME to a folder that can"
