"""The bar of the course's runs, in a terminal and in a notebook, and what an interruption leaves."""

import io
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tinyllm.course.run_bar import Interrupted, watched

ROOT = Path(__file__).parents[2]
LOOP = """
from tinyllm.course.run_bar import watched

with watched(3) as step:
    for _ in range(3):
        step()
print("done")
"""
STOPPED = """
import _thread, time
from tinyllm.course.run_bar import watched

with watched(3) as step:
    step()
    _thread.interrupt_main()  # as the stop button does
    time.sleep(10)
"""


def notebook_of(*sources: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def test_a_notebook_shows_a_bar_while_it_runs_and_keeps_nothing_of_it():
    shown = []
    notebook = notebook_of(LOOP)

    class Client(NotebookClient):
        def process_message(self, message, cell, index):
            if message["msg_type"] == "display_data":
                shown.append(message["content"]["data"])
            return super().process_message(message, cell, index)

    Client(notebook).execute()
    [bar] = shown
    assert list(bar) == ["application/vnd.jupyter.widget-view+json"]  # no text/plain: nbval would compare it
    empty, printed = notebook.cells[0].outputs
    assert empty.data == {}  # build.py drops it
    assert printed.text == "done\n"


def test_a_notebook_with_a_bar_passes_the_strict_comparison(tmp_path):
    notebook = notebook_of(LOOP)
    notebook.cells[0].execution_count = 1
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="done\n")]
    nbformat.write(notebook, tmp_path / "bar.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", str(tmp_path / "bar.ipynb")]
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_stopped_cell_ends_in_one_line_and_the_bar_goes():
    notebook = notebook_of(STOPPED, "print('not reached')")
    with pytest.raises(CellExecutionError):
        NotebookClient(notebook).execute()
    bar, error = notebook.cells[0].outputs
    assert bar.data == {}
    assert error.traceback == ["Stopped after 1 of 3 steps. The cells below need the whole run: run this cell again."]
    assert notebook.cells[1].outputs == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "seen"), [(Terminal, True), (io.StringIO, False)])
def test_a_terminal_shows_a_bar_and_a_pipe_none(monkeypatch, stream, seen):
    monkeypatch.setattr(sys, "stderr", stream())
    with watched(2) as step:
        step()
        step()
    written = sys.stderr.getvalue()
    assert ("0/2" in written) == seen
    assert written.rpartition("\r")[2] == ""  # the line is clear again


def test_ctrl_c_is_still_an_interrupt_and_says_how_far_the_run_was():
    with pytest.raises(KeyboardInterrupt, match="after 1 of 2 steps") as caught, watched(2) as step:
        step()
        raise KeyboardInterrupt
    assert caught.type is Interrupted
    with pytest.raises(ZeroDivisionError), watched(2):
        raise ZeroDivisionError
