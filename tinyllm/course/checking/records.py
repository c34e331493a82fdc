"""What a learner has attempted and solved, kept under TINYLLM_HOME."""

import contextlib
import json
from pathlib import Path
from typing import Any

from tinyllm.system.cache import home
from tinyllm.system.files import replace_text


def record(name: str, kind: str, diagnosis: str = "") -> None:
    """Remember the verdict on an attempt. A solved exercise stays solved; an untouched stub is no attempt."""
    if kind == "not attempted":
        return
    known = recorded()
    before = known.get(name, {"attempts": 0, "solved": False})
    known[name] = {
        "attempts": before["attempts"] + 1,
        "solved": before["solved"] or kind == "correct",
        "last": kind,
        "diagnosis": diagnosis,
    }
    with contextlib.suppress(OSError):  # a full or read-only disk must not keep a learner from the verdict
        replace_text(_path(), json.dumps(known, indent=2))


def recorded(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """{exercise: attempts, solved, last verdict, its diagnosis} of all attempts, here or under another TINYLLM_HOME."""
    try:
        known = json.loads(_path(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or not readable: a lost record is no reason to stop a course
        return {}
    return known if isinstance(known, dict) else {}


def _path(folder: Path | None = None) -> Path:
    return (folder or home()) / "exercises.json"
