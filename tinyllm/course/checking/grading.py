"""For teachers: which exercises of a learner's notebook are solved."""

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tinyllm.course.checking.records import recorded

if TYPE_CHECKING:
    from nbformat import NotebookNode

_CHECK = re.compile(r"""^[ \t]*(?:(\w+)\s*=\s*)?check\(\s*["'](\w+\.\w+)["']""", re.MULTILINE)


def grade(notebook: Path, cell_seconds: float = 60) -> dict[str, Any]:
    """Run a copy of a notebook from top to bottom and collect the verdict on each exercise that it checks.

    The notebook's code is run as it is, by this Python whatever kernel the notebook names, so grade only what you
    would run yourself. A cell that fails, does not end within `cell_seconds` or ends the kernel costs the exercises
    that it checks, and no others: what comes after it goes on with the course's own functions. Nothing is written into
    the notebook or into your own progress.

    Raises FileNotFoundError for a path without a file, ValueError for a file that is no notebook or checks nothing,
    RuntimeError where Jupyter is not installed.
    """
    notebook = Path(notebook)
    content = _read(notebook)
    cells = [_Cell(cell) for cell in content.cells if cell.cell_type == "code"]
    names = list(dict.fromkeys(name for cell in cells for _, name in cell.checks))
    if not names:
        raise ValueError(f"{notebook} checks no exercise: no cell calls check(...)")
    verdicts = _run(content, cells, notebook.parent, cell_seconds)
    verdicts = {name: verdicts.get(name, _Verdict("not attempted")) for name in names}
    return {
        "notebook": notebook.name,
        "solved": sum(verdict.verdict == "correct" for verdict in verdicts.values()),
        "exercises": {name: verdict._asdict() for name, verdict in verdicts.items()},
    }


class _Verdict(NamedTuple):
    verdict: str
    diagnosis: str = ""


class _Cell:
    """A code cell, and what it checks: the name that the result is given, which may be "", and the exercise."""

    def __init__(self, node: "NotebookNode"):
        self.node = node
        self.checks: list[tuple[str, str]] = _CHECK.findall(node.source)
        self.skipped = "nbval-skip" in node.metadata.get("tags", [])
        self.lost = ""
        """Why the cell is left out where the notebook is run again: it did not end, or took the kernel with it."""

    def instead(self, names: set[str]) -> str:
        """Code that gives the notebook the course's functions for these exercises."""
        lines = [
            f"{variable} = find_exercise({name!r}).reference"
            for variable, name in self.checks
            if variable and name in names
        ]
        return "\n".join(["from tinyllm.course.checking.registry import find_exercise", *lines]) if lines else ""


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


def _run(content: "NotebookNode", cells: list[_Cell], folder: Path, seconds: float) -> dict[str, _Verdict]:
    """Run the cells in `folder`, in as many kernels as it takes, with a record of attempts of their own."""
    failed: dict[str, _Verdict] = {}
    with tempfile.TemporaryDirectory() as scratch:
        while not _run_once(content, cells, folder, seconds, Path(scratch), failed):
            pass
        attempts = recorded(Path(scratch))
    return failed | {name: _Verdict(record["last"], record["diagnosis"]) for name, record in attempts.items()}


def _run_once(
    content: "NotebookNode",
    cells: list[_Cell],
    folder: Path,
    seconds: float,
    scratch: Path,
    failed: dict[str, _Verdict],
) -> bool:
    """Run all cells but the lost ones; False as soon as one more is lost, and the kernel with it."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    from tinyllm.course.checking.this_python import client_of

    client = client_of(content, folder)
    environment = os.environ | {"TINYLLM_HOME": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    with client.setup_kernel(env=environment, cleanup_kc=True):  # an endless cell would go on
        _execute(client, _BEFORE)
        for cell in cells:
            if cell.skipped:
                continue
            if cell.lost:
                _execute(client, cell.instead({name for _, name in cell.checks}))
                continue
            try:
                error = _execute(client, cell.node.source, seconds)
            except (CellTimeoutError, DeadKernelError) as lost:
                timed_out = isinstance(lost, CellTimeoutError)
                cell.lost = f"the cell did not end within {seconds:g} seconds" if timed_out else "the cell ended Python"
                _note(cell, "timed out" if timed_out else "crashed", cell.lost, failed, recorded(scratch))
                return False
            if error:
                unchecked = _note(cell, "error", f"the cell raised {error}", failed, recorded(scratch))
                _execute(client, cell.instead(unchecked))
    return True


# `exit()` in a cell then ends nothing, and no cell's time is spent on a first import.
_BEFORE = "get_ipython().ask_exit = lambda: None\nimport tinyllm.course.checking.learner"


def _note(cell: _Cell, verdict: str, why: str, failed: dict[str, _Verdict], attempts: dict[str, Any]) -> set[str]:
    """Name what the cell was to check and did not; returns these exercises."""
    names = {name for _, name in cell.checks if name not in attempts}
    failed |= dict.fromkeys(names, _Verdict(verdict, f"{why}."))
    return names


def _execute(client: Any, source: str, seconds: float | None = None) -> str:
    """Run some code, for as long as it may take; returns the error it raised, in short."""
    import nbformat

    if not source.strip():
        return ""
    cell = nbformat.v4.new_code_cell(source)  # type: ignore[no-untyped-call]
    client.nb.cells, client.timeout = [cell], seconds
    client.execute_cell(cell, 0)
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return " ".join(f"{errors[0].ename}: {errors[0].evalue}".split())[:160] if errors else ""
