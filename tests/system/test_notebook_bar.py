"""A bar in a notebook: seen while it moves, and nothing that cannot be shown again once it is closed."""

import nbformat
import pytest
from nbclient import NotebookClient

from tinyllm.system.notebook_bar import VIEW

CELL = """
from tinyllm.system.bars import Bar

bar = Bar(total=1200, {settings})
bar.update(1100)
bar.close()
bar.close()
"""


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ("", {"text/plain": "1,100 of 1,200"}),
        ("leave=False", {}),
        ("leave=False, disable=None", {}),
        ("disable=True", None),
    ],
)
def test_a_closed_bar_leaves_a_line_or_nothing(settings, left):
    shown = []

    class Client(NotebookClient):
        def process_message(self, message, cell, index):
            if message["msg_type"] == "display_data":
                shown.append(message["content"]["data"])
            return super().process_message(message, cell, index)

    cell = nbformat.v4.new_code_cell(CELL.format(settings=settings))
    Client(nbformat.v4.new_notebook(cells=[cell])).execute()
    assert [list(data) for data in shown] == ([] if left is None else [[VIEW]])  # no text, which nbval would compare
    assert [output.data for output in cell.outputs] == ([] if left is None else [left])


def test_a_bar_that_is_never_closed_is_no_error():
    cell = nbformat.v4.new_code_cell("from tinyllm.system.bars import Bar\nbar = Bar(total=3)\ndel bar")
    NotebookClient(nbformat.v4.new_notebook(cells=[cell])).execute()
    assert [output.output_type for output in cell.outputs] == ["display_data"]
