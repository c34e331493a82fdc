"""How a verdict is shown: in words everywhere, and in a notebook with a colour and a mark beside the same words."""

import html
import sys

from tinyllm.course.checking.judging import Verdict
from tinyllm.course.checking.saying import WIDTH, say, wrapped

# White on them, and they on a white or a black page, can be told apart: 4.5:1 for the mark, 3:1 for the bar.
GREEN, ORANGE = "#007A55", "#B34700"


def show_verdict(verdict: Verdict) -> None:
    """Print a verdict; in a notebook, display it. An answer not yet attempted has none, and no colour."""
    text = verdict.message
    if verdict.kind != "correct":
        text += "\nUntil then the notebook goes on with the course's own function."
    if verdict.kind == "not attempted" or not _in_notebook():
        say(text)
        return
    from IPython.display import display

    coloured = _coloured(text, verdict.kind == "correct")
    display({"text/html": coloured, "text/plain": wrapped(text)}, raw=True)  # type: ignore[no-untyped-call]  # untyped there


def _in_notebook() -> bool:
    """Whether Jupyter runs this: its shell has a kernel, the terminal's has none."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _coloured(text: str, correct: bool) -> str:
    colour, mark = (GREEN, "✓") if correct else (ORANGE, "✗")
    lines = f"margin: 0; max-width: {WIDTH}ch; white-space: pre-wrap; word-break: normal"
    bar = f"border-left: 4px solid {colour}; padding-left: 0.8em"
    badge = f'<span style="background: {colour}; color: #FFFFFF; padding: 0 0.4em">{mark}</span>'
    return f'<pre style="{lines}; {bar}">{badge} {html.escape(text)}</pre>'
