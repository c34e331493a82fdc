"""A TINYLLM_HOME for each test that records attempts."""

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
