"""How a verdict is shown: words alone in plain Python, colour and the same words in a notebook."""

import html
import os
import re
from pathlib import Path

import nbformat
import pytest
from contrast import contrast

from tinyllm.course.checking import verdicts
from tinyllm.course.checking.judging import Verdict
from tinyllm.course.checking.saying import wrapped
from tinyllm.course.checking.this_python import client_of

ROOT = Path(__file__).parent.parent.parent.parent
GOES_ON = "Until then the notebook goes on with the course's own function."
RIGHT = Verdict("correct", "a.b: correct.")
WRONG = Verdict("wrong", f"a.b: not right yet. {'It is long. ' * 10}\n  got: <int>\n  lower: a < b")
UNTOUCHED = Verdict("not attempted", "a.b: not attempted yet.")
CELL = """
from tinyllm.course.checking.judging import Verdict
from tinyllm.course.checking.verdicts import show_verdict
for verdict in {}: show_verdict(verdict)
"""


def test_in_plain_python_a_verdict_is_printed(capsys):
    verdicts.show_verdict(RIGHT)
    assert capsys.readouterr().out == "a.b: correct.\n"
    for verdict in (WRONG, UNTOUCHED):
        verdicts.show_verdict(verdict)
        assert capsys.readouterr().out == wrapped(f"{verdict.message}\n{GOES_ON}") + "\n"


def test_in_a_notebook_the_same_words_have_a_colour_and_an_untouched_stub_has_none(tmp_path):
    cell = nbformat.v4.new_code_cell(CELL.format(repr([UNTOUCHED, RIGHT, WRONG])))
    client_of(nbformat.v4.new_notebook(cells=[cell]), tmp_path).execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
    untouched, right, wrong = cell.outputs
    assert untouched.text == f"{UNTOUCHED.message}\n{GOES_ON}\n"
    for output, text, mark, colour in (
        (right, RIGHT.message, "✓", verdicts.GREEN),
        (wrong, f"{WRONG.message}\n{GOES_ON}", "✗", verdicts.ORANGE),
    ):
        assert output.data["text/plain"] == wrapped(text)
        coloured = output.data["text/html"]
        assert html.unescape(re.sub("<[^>]+>", "", coloured)) == f"{mark} {text}"
        assert coloured.count(colour) == 2


@pytest.mark.parametrize("colour", [verdicts.GREEN, verdicts.ORANGE])
def test_the_mark_and_the_bar_can_be_seen_on_light_and_dark_pages(colour):
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert contrast(colour, "#FFFFFF") >= 4.5  # the mark is white on it
    assert contrast(colour, "#111111") >= 3  # JupyterLab's dark page
