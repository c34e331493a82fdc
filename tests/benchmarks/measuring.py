"""Contestants, each in a process of its own, that take turns; and a table of what they took.

Two measurements made one after the other differ by whatever else the machine was doing. So contestants alternate, and
what is compared is the median of the ratios within each round.
"""

import multiprocessing
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


class Contestant:
    """A function in a process of its own: `make(*arguments)` is called there once, and what it returns at each turn."""

    def __init__(self, make: Callable[..., Callable[[], Any]], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # made, and warmed up by one turn

    def turn(self) -> float:
        """Call the function; the seconds it took, or what it returned, if it measures itself."""
        self._connection.send("turn")
        return self._connection.recv()[0]

    def peak_memory(self) -> int:
        """The most bytes of memory that the process ever held (Linux)."""
        self._connection.send("memory")
        return self._connection.recv()[1]

    def end(self) -> None:
        self._connection.close()
        self._process.join()


def _serve(connection: Any, make: Callable[..., Callable[[], Any]], arguments: tuple) -> None:
    function = make(*arguments)
    function()
    connection.send("ready")
    while True:
        try:
            asked = connection.recv()
        except EOFError:
            return
        seconds = 0.0
        if asked == "turn":
            began = time.perf_counter()
            measured = function()
            seconds = time.perf_counter() - began if measured is None else measured
        kilobytes = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]
        connection.send((seconds, 1024 * int(kilobytes)))


def alternate(contestants: Sequence[Contestant], rounds: int) -> list[list[float]]:
    """For each contestant what its turns took, taken in turn."""
    turns = [[contestant.turn() for contestant in contestants] for _ in range(rounds)]
    return [list(times) for times in zip(*turns, strict=True)]


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, in `unit`, of tinyllm, of the peer, and of the limit."""

    what: str
    unit: str
    ours: float
    peer: float | None = None
    limit: float | None = None
    to_peer: float | None = None
    to_limit: float | None = None
    target: str = ""
    met: bool | None = None


def compare(
    what: str,
    unit: str,
    ours: Sequence[float],
    peer: Sequence[float] | None = None,
    limit: Sequence[float] | None = None,
    least: float | None = None,
    most: float | None = None,
    least_of_limit: float | None = None,
) -> Row:
    """A row from one value of each contestant per round. Targets: the ratio to the peer is at least, or at most;
    of the limit at least."""
    to_peer = median(a / b for a, b in zip(ours, peer, strict=True)) if peer else None
    to_limit = median(a / b for a, b in zip(ours, limit, strict=True)) if limit else None
    targets = []
    if least is not None:
        targets.append((f"≥ {least:g}", to_peer >= least))
    if most is not None:
        targets.append((f"≤ {most:g}", to_peer <= most))
    if least_of_limit is not None:
        targets.append((f"≥ {least_of_limit:g} of limit", to_limit >= least_of_limit))
    return Row(
        what, unit, median(ours), median(peer) if peer else None, median(limit) if limit else None,
        to_peer, to_limit, ", ".join(text for text, _ in targets), all(met for _, met in targets) if targets else None,
    )  # fmt: skip


HEADER = "| measured | unit | tinyllm | peer | limit | / peer | / limit | target | met |\n|" + " --- |" * 9


def table(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown."""
    return "\n".join([HEADER, *map(line, rows)])


def line(row: Row) -> str:
    """A row as a line of the table."""
    numbers = [_short(value) for value in (row.ours, row.peer, row.limit, row.to_peer, row.to_limit)]
    met = {None: "", True: "yes", False: "**no**"}[row.met]
    return f"| {row.what} | {row.unit} | {' | '.join(numbers)} | {row.target} | {met} |"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
