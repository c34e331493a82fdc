"""What a claim's test measures, judges and writes down in results.md.

A claim is what an experiment in a notebook is said to show. It stands only if it holds for other seeds and for runs of
another length, with both sides tuned. `pytest --claims` tries all of them, `pytest --claims -k NAME` one.
"""

import fcntl
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COURSE_SEEDS = range(1, 6)
SEEDS: Sequence[int] = COURSE_SEEDS
TUNED_ON = (0, 6, 11, 12)  # rates and initial weights were chosen on these, so they judge nothing
TIMES = (1, 2)  # the chapter's own run length, and twice it
RESULTS = Path(__file__).parent / "results.md"
NOTEBOOKS = RESULTS.parents[2] / "notebooks"
HEAD = """\
# What the course claims, and what was seen

Written by `pytest --claims`; do not edit. Each effect is a mean over seeds with its standard error. A difference is
taken seed by seed, and counts where it is larger than two errors at every length of the run. A measured number counts
where it lies within the bounds given, two errors included. Where nothing differs, five seeds pass two errors by luck
once in 17 times (Student's t, four degrees of freedom), at two lengths once in 300: trust a row of one length less.

| claim | chapter | what was compared | seeds | effect ± standard error | verdict |
|---|---|---|---|---|---|
"""
HOLDS, NOTHING, FAILS = "holds", "no difference seen here", "DOES NOT HOLD"


def judge_with(seeds: Sequence[int]) -> None:
    """Try every claim with seeds of one's own, before its test is imported; then `rewrite` leaves all files alone.

    Raises:
        ValueError: fewer than five different seeds, or one that something was tuned on.
    """
    global SEEDS
    if len(set(seeds)) < len(COURSE_SEEDS) or len(set(seeds)) < len(seeds):
        raise ValueError(f"{len(COURSE_SEEDS)} different seeds are needed, or more")
    if min(seeds) < 0 or set(seeds) & set(TUNED_ON):
        raise ValueError(f"seeds are above 0, and none of {', '.join(map(str, TUNED_ON))}: rates were tuned on these")
    SEEDS = tuple(seeds)


@dataclass(frozen=True)
class Effect:
    """The mean of one number per seed, and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Effect":
        return cls(float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values)))

    def __str__(self) -> str:
        """The error with one significant digit, at most three decimals where the mean is not tiny."""
        if not all(map(math.isfinite, (self.mean, self.error))):
            return f"{self.mean} ± {self.error}"
        scale = self.error or abs(self.mean) / 1000 or 1.0
        decimals = max(0, -math.floor(math.log10(scale)))
        if abs(self.mean) >= 0.05:
            decimals = min(decimals, 3)
        return f"{self.mean:.{decimals}f} ± {self.error:.{decimals}f}"


class Evidence:
    """Gathers the rows of one claim; every call adds a row, then asserts."""

    def __init__(self, name: str):
        self.name = name
        self.rows: list[str] = []

    def larger(self, what: str, differences: Mapping[str, Sequence[float]]) -> None:
        """At every length, the paired differences are positive by more than two errors.

        `differences` maps a length, such as "400 steps", to one difference a seed.
        """
        effects = _effects(differences)
        self._judge(what, differences, all(e.mean > 2 * e.error for e in effects.values()), HOLDS)

    def alike(self, what: str, differences: Mapping[str, Sequence[float]]) -> None:
        """At every length, zero lies within two errors of the mean of the paired differences."""
        effects = _effects(differences)
        self._judge(what, differences, all(abs(e.mean) <= 2 * e.error for e in effects.values()), NOTHING)

    def between(self, what: str, values: Mapping[str, Sequence[float]], low: float, high: float) -> None:
        """At every length, the mean and two errors on each side of it lie between `low` and `high`."""
        inside = all(low <= e.mean - 2 * e.error and e.mean + 2 * e.error <= high for e in _effects(values).values())
        self._judge(f"{what} (between {low:g} and {high:g})", values, inside, HOLDS)

    def _judge(self, what: str, values: Mapping[str, Sequence[float]], true: bool, verdict: str) -> None:
        effects = ", ".join(f"{effect} ({length})" for length, effect in _effects(values).items())
        seeds = min(map(len, values.values()))
        cells = (self.name, _chapter(self.name), what, seeds, effects, verdict if true else FAILS)
        self.rows.append(f"| {' | '.join(map(str, cells))} |")
        assert seeds >= len(SEEDS), f"{self.name}: {seeds} seeds are too few"
        assert true, f"{self.name}: {what}: {effects}"

    def write(self, path: Path = RESULTS) -> None:
        """Replace this claim's rows in the file, which is kept in the order of the names."""

        def with_own_rows(text: str) -> str:
            others = [line for line in rows(text) if name_of(line) != self.name]
            return HEAD + "".join(f"{line}\n" for line in sorted([*others, *self.rows], key=name_of))

        rewrite(path, with_own_rows)


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Replace a file's text, "" if there is none, by what `change` makes of it. Another process may do the same.

    What a reader's own seeds say stays out of the course's files.
    """
    if SEEDS is not COURSE_SEEDS:
        return
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = change(file.read())
        file.truncate(0)
        file.write(text)


def rows(text: str) -> list[str]:
    """The rows of a results file, without the table's head."""
    return [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| claim |")]


def name_of(row: str) -> str:
    return row.split(" | ")[0].removeprefix("| ")


def effect_of(row: str) -> str:
    """The effect at the chapter's own length, as a notebook prints it: "0.31 ± 0.02"."""
    return row.split(" | ")[4].partition(" (")[0]


def lengths_of(row: str) -> set[str]:
    """The lengths of the runs that were measured, or compared with each other: "400 steps" and "800 steps"."""
    _, _, what, _, effects, _ = row.split(" | ")
    measured = set(re.findall(r"± [^ ]+ \((.+?)\)(?:,|$)", effects))
    return measured | {f"{steps} steps" for pair in re.findall(r"(\d+) minus (\d+) steps", what) for steps in pair}


def verdict_of(row: str) -> str:
    return row.split(" | ")[5].removesuffix(" |")


def _chapter(name: str) -> str:
    """A link to the notebook that a claim's name begins with, under its title."""
    (path,) = NOTEBOOKS.glob(f"{name.partition('.')[0]}_*.ipynb")
    title = re.search(r'"# ([^"\\]+)', path.read_text(encoding="utf-8"))
    assert title, f"{path.name} has no title"
    return f"[{title[1]}](../../notebooks/{path.name})"


def _effects(values: Mapping[str, Sequence[float]]) -> dict[str, Effect]:
    return {length: Effect.of(numbers) for length, numbers in values.items()}


def tuned(score: Callable[[float], float], start: float) -> float:
    """The learning rate with the lowest score among `start` times powers of two.

    Walks downhill from `start` until the rates on both sides are worse, so the best never stands at an edge.
    """
    scores = {start: score(start)}
    best = start
    while True:
        for rate in (best / 2, best * 2):
            if rate not in scores:
                scores[rate] = score(rate)
        lowest = min(scores, key=lambda rate: (not math.isfinite(scores[rate]), scores[rate]))
        if lowest == best:
            return best
        best = lowest
