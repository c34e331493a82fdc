"""The record of a run, `history.jsonl`: one line of JSON for each step and each measurement."""

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from tqdm.auto import tqdm

from tinyllm.config import RunConfig
from tinyllm.system.files import replace_text


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The points of `history.jsonl`.

    Steps have iteration, training_loss, learning_rate, gradient_norm, tokens_per_second and seconds. Measurements
    have iteration and validation_loss, on TinyWiki also entropy_floor (of the same articles) and by_label. Losses
    are in nats per token; gradient_norm is None where float16 overflowed. The list ends before the first line that a
    crash cut off or somebody altered.
    """
    path = folder / "history.jsonl"
    points = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            point = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not (isinstance(point, dict) and isinstance(point.get("iteration"), int)):
            break
        if not all(isinstance(point.get(loss, 0.0), int | float) for loss in ("training_loss", "validation_loss")):
            break
        points.append(point)
    return points


def step_point(
    iteration: int, config: RunConfig, loss: float, norm: float, rate: float, seconds: float
) -> dict[str, Any]:
    """The point of one optimizer step."""
    training = config.training
    tokens = training.global_batch * config.model.context_length
    return {
        "iteration": iteration,
        "training_loss": loss,
        "learning_rate": rate,
        "gradient_norm": norm if math.isfinite(norm) else None,
        "tokens_per_second": tokens / seconds,
        "seconds": seconds,
    }


class History:
    """`history.jsonl`, cut back to where the run resumes; each further point adds a line. Use it as a context manager.

    A disk too full for a line does not stop a run: the points are kept, and written once there is room again.
    """

    def __init__(self, folder: Path, start: int, writes: bool, say: Callable[[str], None] = tqdm.write):
        # The measurement after the last step kept was made before that checkpoint; a run that starts keeps nothing.
        points = read_history(folder) if start else []
        self.points = [point for point in points if point["iteration"] < start + ("validation_loss" in point)]
        self.writes, self._say = writes, say
        self._path = folder / "history.jsonl"
        self._file: TextIO | None = None

    def __enter__(self) -> "History":
        if self.writes:
            self._file = self._rewrite()
        return self

    def _rewrite(self) -> TextIO:
        """Write all points so far; returns the file, open for more."""
        replace_text(self._path, "".join(json.dumps(point) + "\n" for point in self.points))
        return self._path.open("a", encoding="utf-8", buffering=1)  # line by line, for whoever watches

    def add(self, point: dict[str, Any]) -> None:
        """Keep a point and, if this process writes, add its line to the file."""
        self.points.append(point)
        if not self.writes:
            return
        try:
            if self._file is None:
                self._file = self._rewrite()
            else:
                self._file.write(json.dumps(point) + "\n")
        except OSError as error:
            told = self._file is None
            self._close()
            if not told:
                self._say(f"{self._path} could not be written ({error}); training goes on, and will try again")

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # whatever is left in its buffer is in `points` too
                self._file.close()
            self._file = None
