"""For teachers: which exercises of a learner's notebook are solved."""

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyllm.course.checking.records import recorded

if TYPE_CHECKING:
    from nbformat import NotebookNode


def grade(notebook: Path) -> dict[str, Any]:
    """Run a copy of a notebook from top to bottom and collect the verdict on each exercise that it checks.

    The notebook's code is run as it is, so grade only what you would run yourself. Cells that fail do not stop the
    others, and nothing is written into the notebook or into your own progress.

    Raises FileNotFoundError for a path without a file, ValueError for a file that is no notebook or checks nothing,
    RuntimeError where Jupyter is not installed.
    """
    notebook = Path(notebook)
    content = _read(notebook)
    code = "\n".join(cell.source for cell in content.cells if cell.cell_type == "code")
    names = list(dict.fromkeys(re.findall(r"""^\s*(?:\w+\s*=\s*)?check\(\s*["'](\w+\.\w+)["']""", code, re.MULTILINE)))
    if not names:
        raise ValueError(f"{notebook} checks no exercise: no cell calls check(...)")
    attempts = _run(content, notebook.parent)
    verdicts = {name: _verdict(attempts.get(name)) for name in names}
    return {
        "notebook": notebook.name,
        "solved": sum(verdict["verdict"] == "correct" for verdict in verdicts.values()),
        "exercises": verdicts,
    }


def _read(notebook: Path) -> "NotebookNode":
    try:
        import nbclient  # noqa: F401  # said here, before the notebook is read
        import nbformat
    except ImportError as error:
        raise RuntimeError(f"grading runs notebooks and needs Jupyter ({error}): pip install jupyterlab") from None
    if not notebook.is_file():
        raise FileNotFoundError(f"no notebook at {notebook}")
    try:
        content: NotebookNode = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]  # untyped there
    except Exception as error:  # nbformat raises whatever it stumbles over
        raise ValueError(f"{notebook} is not a notebook that can be read: {type(error).__name__}") from None
    return content


def _run(content: "NotebookNode", folder: Path) -> dict[str, dict[str, Any]]:
    """Run the cells in `folder`, with a record of attempts of their own, and return that record."""
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as scratch:
        client = NotebookClient(
            content,
            timeout=600,
            allow_errors=True,
            skip_cells_with_tag="nbval-skip",
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env=os.environ | {"TINYLLM_HOME": scratch, "PYTHONDONTWRITEBYTECODE": "1"})
        return recorded(Path(scratch))


def _verdict(record: dict[str, Any] | None) -> dict[str, str]:
    if record is None:
        return {"verdict": "not attempted", "diagnosis": ""}
    return {"verdict": record["last"], "diagnosis": record["diagnosis"]}
