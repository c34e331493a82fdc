"""A notebook runs in this Python, whatever kernel it names."""

import sys

import nbformat

from tinyllm.course.checking.this_python import client_of


def test_any_kernel_is_this_python_and_errors_stop_nothing(tmp_path):
    content = nbformat.v4.new_notebook()
    content.metadata.kernelspec = {"name": "no-such-kernel", "display_name": "None", "language": "python"}
    sources = ["1 / 0", "import os, sys; print(sys.executable); print(os.getcwd())"]
    content.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    client_of(content, tmp_path).execute()
    assert content.cells[0].outputs[0].ename == "ZeroDivisionError"
    assert content.cells[1].outputs[0].text.split() == [sys.executable, str(tmp_path)]
