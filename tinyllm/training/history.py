"""What a run writes down as it goes: one line of JSON for each step and each measurement."""

import contextlib
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from tqdm.auto import tqdm

from tinyllm.config import RunConfig
from tinyllm.system.files import replace_text

OnStep = Callable[[dict[str, Any]], bool | None]


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The points of `history.jsonl`.

    Steps hold iteration, training_loss, learning_rate, gradient_norm, tokens_per_second and seconds. Measurements
    hold iteration and validation_loss, on TinyWiki also entropy_floor (of the same articles) and by_label. Losses
    are in nats per token; gradient_norm is None where float16 overflowed. What a crash cut off or somebody altered
    ends the list.
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
        points.append(point)
    return points


class History:
    """`history.jsonl`, cut back to where the run goes on, and a line more with each point.

    A disk too full for a line does not stop a run: the points are kept, and written once there is room again.
    """

    def __init__(self, folder: Path, start: int, writes: bool, on_step: OnStep | None, stop: threading.Event):
        # The measurement behind the last step kept was made before that checkpoint; a run that starts keeps nothing.
        points = read_history(folder) if start else []
        self.points = [point for point in points if point["iteration"] < start + ("validation_loss" in point)]
        self._on_step, self._stop = on_step, stop
        self._path = folder / "history.jsonl" if writes else None
        self._file: TextIO | None = None
        if writes:
            self._open()

    def _open(self) -> None:
        """Write all points so far, and leave the file open for more."""
        replace_text(self._path, "".join(json.dumps(point) + "\n" for point in self.points))
        self._file = self._path.open("a", encoding="utf-8", buffering=1)  # a line at a time, for whoever watches

    def add(self, point: dict[str, Any]) -> None:
        self.points.append(point)
        if self._path is None:
            return
        try:
            if self._file is None:
                self._open()
            else:
                self._file.write(json.dumps(point) + "\n")
        except OSError as error:
            if self._file is not None:
                tqdm.write(f"{self._path} could not be written ({error}); training goes on, and writes it when it can")
            self._close()
        if self._on_step is not None and self._on_step(point):
            self._stop.set()

    def add_step(
        self, iteration: int, config: RunConfig, loss: float, norm: float, rate: float, seconds: float
    ) -> float:
        """Add what one step gave; returns its speed in tokens per second."""
        training = config.training
        tokens = training.batch_size * training.gradient_accumulation_steps * config.model.context_length
        self.add({
            "iteration": iteration,
            "training_loss": loss,
            "learning_rate": rate,
            "gradient_norm": norm if math.isfinite(norm) else None,
            "tokens_per_second": tokens / seconds,
            "seconds": seconds,
        })  # fmt: skip
        return tokens / seconds

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is left in its buffer is in `points` too
                self._file.close()
            self._file = None
