"""The picture of what is solved."""

import json

from answers import stub

from tinyllm.course import check, progress
from tinyllm.course.checking.registry import EXERCISES, find_exercise


def test_progress_survives_and_a_solved_exercise_stays_solved(home):
    reference = find_exercise("gpt.embed").reference
    for answer in (stub, lambda *_: None, reference, lambda *_: None):
        check("gpt.embed", answer)
    check("gpt.logits", lambda *_: None)
    known = json.loads((home / "exercises.json").read_text())  # what a new kernel reads
    diagnosis = "your result is None; it should be a tensor of shape (1, 1, 2). Is a `return` missing?"
    assert known["gpt.embed"] == {"attempts": 3, "solved": True, "last": "unusable", "diagnosis": diagnosis}
    assert not known["gpt.logits"]["solved"]
    picture = progress()
    assert picture.alt.startswith(f"1 of {len(EXERCISES)} exercises solved: tokenization 0 of 4,")
    assert "gpt 1 of 6" in picture.alt
    marks = [text.get_text() for text in picture.axes[0].texts]
    assert len(marks) == len(EXERCISES)
    assert [text for text in marks if text.endswith("✓")] == ["embed ✓"]
    assert [text for text in marks if text.endswith("…")] == ["logits …"]
