"""What is remembered of attempts."""

import json

import pytest

from tinyllm.course import check, progress
from tinyllm.course.checking.records import record, recorded
from tinyllm.course.checking.registry import EXERCISES, find_exercise


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
def test_a_lost_record_stops_nothing(home, content, capsys):
    home.mkdir()
    (home / "exercises.json").write_bytes(content.encode("latin-1"))
    check("gpt.embed", find_exercise("gpt.embed").reference)
    assert "correct" in capsys.readouterr().out
    assert json.loads((home / "exercises.json").read_text())["gpt.embed"]["solved"]


def test_a_home_that_cannot_be_written_stops_nothing(home, capsys):
    home.write_text("a file where the folder should be")
    check("gpt.embed", find_exercise("gpt.embed").reference)
    assert "correct" in capsys.readouterr().out
    assert progress().alt.startswith(f"0 of {len(EXERCISES)} ")


def test_a_solved_exercise_stays_solved_and_a_stub_is_no_attempt(home):
    record("gpt.embed", "not attempted")
    assert recorded() == {}
    record("gpt.embed", "wrong", "You forgot the positions.")
    assert recorded() == {
        "gpt.embed": {"attempts": 1, "solved": False, "last": "wrong", "diagnosis": "You forgot the positions."}
    }
    record("gpt.embed", "correct")
    record("gpt.embed", "raised")
    assert recorded()["gpt.embed"] == {"attempts": 3, "solved": True, "last": "raised", "diagnosis": ""}


def test_another_folders_record_can_be_read(home, tmp_path, monkeypatch):
    record("gpt.embed", "correct")
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "elsewhere"))
    assert recorded() == {}
    assert recorded(home)["gpt.embed"]["solved"]
