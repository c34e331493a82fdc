"""For teachers: how far the exercises of a learner's notebook are solved."""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from tinyllm.course.checking.records import recorded


def grade(notebook: Path) -> dict[str, Any]:
    """Run a copy of a notebook from top to bottom and collect the verdict on each exercise that it checks.

    The notebook's code is run as it is, so grade only what you would run yourself. Cells that fail do not stop the
    others, and nothing is written into the notebook or into your own progress.

    Raises FileNotFoundError for a path without a file, ValueError for a file that is no notebook or checks nothing,
    RuntimeError where Jupyter is not installed.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
    except ImportError as error:
        raise RuntimeError(f"grading runs notebooks and needs Jupyter ({error}): pip install jupyterlab") from None

    notebook = Path(notebook)
    if not notebook.is_file():
        raise FileNotFoundError(f"no notebook at {notebook}")
    try:
        content = nbformat.read(notebook, as_version=4)
    except Exception as error:  # nbformat raises whatever it stumbles over
        raise ValueError(f"{notebook} is not a notebook that can be read: {type(error).__name__}") from None
    code = "\n".join(cell.source for cell in content.cells if cell.cell_type == "code")
    names = list(dict.fromkeys(re.findall(r"""^\s*check\(\s*["'](\w+\.\w+)["']""", code, re.MULTILINE)))
    if not names:
        raise ValueError(f"{notebook} checks no exercise: no cell calls check(...)")
    with tempfile.TemporaryDirectory() as scratch:
        client = NotebookClient(
            content,
            timeout=600,
            allow_errors=True,
            skip_cells_with_tag="nbval-skip",
            resources={"metadata": {"path": str(notebook.parent)}},
        )
        client.execute(env=os.environ | {"TINYLLM_HOME": scratch, "PYTHONDONTWRITEBYTECODE": "1"})
        found = recorded(Path(scratch))
    verdicts = {name: _verdict(found.get(name)) for name in names}
    return {
        "notebook": notebook.name,
        "solved": sum(verdict["verdict"] == "correct" for verdict in verdicts.values()),
        "exercises": verdicts,
    }


def _verdict(record: dict[str, Any] | None) -> dict[str, str]:
    if record is None:
        return {"verdict": "not attempted", "diagnosis": ""}
    return {"verdict": record["last"], "diagnosis": record["diagnosis"]}
