"""Each notebook with other right answers filled in than the course's own: it runs on these, and to the same end.

`filled_in/chNN_x.py` has an answer for each exercise of its notebook. Each is put in the place of the stub, must be
called correct, and must be what the rest of the notebook calls.
"""

import ast
import json
import os
import re
from pathlib import Path

import nbformat
import pytest

from tinyllm.course.checking.this_python import client_of

ROOT = Path(__file__).parents[2]
ANSWERS = sorted(Path(__file__).with_name("filled_in").glob("ch*.py"))
NOT_USED_LATER: dict[str, set[str]] = {}
"""By chapter, exercises that no later cell calls: what they teach is not part of the model."""
QUICKEST = "chA2_backprop"  # the others take a minute and more each; their cells run in the notebooks' own tests too

CHECK = re.compile(r"""^(\w+) = check\(\s*"(\w+\.\w+)", \1\s*\)""", re.MULTILINE)
BEFORE = """
import functools, json, runpy, sys
_calls, _at_check = dict(), dict()

def _counted(name, function):
    _calls[name] = 0

    @functools.wraps(function)
    def answer(*arguments, **named):
        _calls[name] += 1
        return function(*arguments, **named)

    return answer

_answers = runpy.run_path({path!r})
"""
AFTER = "print(json.dumps({name: _calls[name] - _at_check[name] for name in _calls}))"


def filled_in(source: str) -> str:
    """A cell with the answer in the place of the stub that it checks."""
    for name, _ in CHECK.findall(source):
        tree = ast.parse(source)
        lines = source.splitlines()
        stub = next(
            node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
        )
        lines[stub.lineno - 1 : stub.end_lineno] = [f"{name} = _counted({name!r}, _answers[{name!r}])"]
        source = "\n".join(lines)
        checked = re.compile(rf"^({name} = check\([^)]*\))", re.MULTILINE)
        source = checked.sub(rf"\1; _at_check[{name!r}] = _calls[{name!r}]", source)
    return source


def printed(cell) -> str:
    """What a cell prints, without the digits that another order of floating-point operations changes."""
    text = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", "#", text)


def verdicts(cell) -> str:
    """The verdicts on a cell's answers, which are displayed and not printed."""
    return "\n".join(output.data["text/plain"] for output in cell.outputs if output.output_type == "display_data")


@pytest.mark.parametrize(
    "answers",
    [pytest.param(path, marks=[] if path.stem == QUICKEST else pytest.mark.slow, id=path.stem) for path in ANSWERS],
)
def test_a_notebook_runs_on_the_learners_answers(answers, tmp_path):
    (path,) = (ROOT / "notebooks").glob(f"{answers.stem[2:4]}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells = [cell for cell in cells if "nbval-skip" not in cell.metadata.get("tags", [])]
    committed = [(cell, printed(cell)) for cell in cells]
    checks = {name for cell in cells for _, name in CHECK.findall(cell.source)}
    for cell in cells:
        cell.source = filled_in(cell.source)
    first, last = nbformat.v4.new_code_cell(BEFORE.format(path=str(answers))), nbformat.v4.new_code_cell(AFTER)
    notebook.cells = [first, *cells, last]
    client = client_of(notebook, path.parent)
    client.execute(env=os.environ | {"TINYLLM_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})

    errors = [output.evalue for cell in notebook.cells for output in cell.outputs if output.output_type == "error"]
    assert errors == []
    said = "\n".join(verdicts(cell) for cell in cells if "_counted(" in cell.source)
    assert checks == set(re.findall(r"^(\w+\.\w+): correct", said, re.MULTILINE)), said
    calls = json.loads(last.outputs[0].text)
    assert {name for name, count in calls.items() if not count} == NOT_USED_LATER.get(answers.stem, set())
    for cell, before in committed:
        if "_counted(" not in cell.source and "nbval-ignore-output" not in cell.metadata.get("tags", []):
            assert printed(cell) == before, cell.source
