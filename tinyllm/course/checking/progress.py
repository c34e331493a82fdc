"""A learner's progress as a picture, chapter by chapter."""

from collections.abc import Mapping
from typing import Any

from tinyllm.course.checking.records import recorded
from tinyllm.course.checking.registry import CHAPTERS, EXERCISES, load_chapters
from tinyllm.plots import BLUE, GREY, Picture

ORANGE_TINT = "#F3D3BF"
_LOOKS = {"solved": (BLUE, "white", "✓"), "tried": (ORANGE_TINT, "black", "…"), "open": ("white", GREY, "")}


def progress() -> Picture:
    """Draw which exercises are solved (✓), tried (…) and still open on this machine, a row for each chapter."""
    load_chapters()
    known = recorded()
    state = {name: _state(known.get(name)) for name in EXERCISES}
    solved = sum(value == "solved" for value in state.values())
    figure = Picture(figsize=(12, 4.8), layout="constrained")
    axes = figure.add_subplot()
    title = f"{solved} of {len(state)} exercises solved"
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    counts = []
    for row, chapter in enumerate(CHAPTERS):
        names = [name for name in EXERCISES if name.startswith(f"{chapter}.")]
        for column, name in enumerate(names):
            colour, ink, mark = _LOOKS[state[name]]
            axes.barh(row, 0.94, left=column, height=0.8, color=colour, edgecolor=GREY, linewidth=0.8)
            label = f"{name.partition('.')[2]} {mark}".strip().replace("_", "\n", 1)  # a box is narrow
            axes.text(column + 0.47, row, label, ha="center", va="center", fontsize=7, linespacing=1, color=ink)
        counts.append(f"{chapter} {sum(state[name] == 'solved' for name in names)} of {len(names)}")
    axes.set_yticks(range(len(CHAPTERS)), [f"{number} {name}" for name, number in CHAPTERS.items()])
    widest = max(sum(name.startswith(f"{chapter}.") for name in state) for chapter in CHAPTERS)
    axes.set(xlim=(-0.05, widest + 0.1), ylim=(len(CHAPTERS) - 0.5, -0.5), xticks=[])
    axes.tick_params(left=False)
    axes.spines[:].set_visible(False)
    figure.alt = f"{title}: {', '.join(counts)}."
    return figure


def _state(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "open"
    return "solved" if record["solved"] else "tried"
