"""The history of a run for other tools, beside `history.jsonl`: a table, and TensorBoard's events."""

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tinyllm.config import RunConfig, TrainingConfig

_MEASURED = {"training_loss": "loss/training", "validation_loss": "loss/held-out", "entropy_floor": "loss/floor"}
_OTHERS = ("learning_rate", "gradient_norm", "tokens_per_second", "seconds")


class Log(Protocol):
    """Writes down the points of a history as they come."""

    def __call__(self, point: dict[str, Any]) -> None:
        """Write down one more."""

    def close(self) -> None:
        """Write down what is still on its way."""


class CsvLog:
    """`history.csv`: a row for each point, with empty cells for what it does not have."""

    def __init__(self, folder: Path, points: Sequence[dict[str, Any]]):
        self._file = (folder / "history.csv").open("w", newline="", encoding="utf-8", buffering=1)
        columns = ("iteration", *_MEASURED, *_OTHERS)
        self._writer = csv.DictWriter(self._file, columns, extrasaction="ignore", lineterminator="\n")
        self._writer.writeheader()
        self._writer.writerows(points)

    def __call__(self, point: dict[str, Any]) -> None:
        self._writer.writerow(point)

    def close(self) -> None:
        self._file.close()


class TensorBoardLog:
    """`tensorboard/`: a curve for each value. What a resumed run does again replaces what was there."""

    def __init__(self, folder: Path, points: Sequence[dict[str, Any]], start: int):
        from torch.utils.tensorboard import SummaryWriter  # only here: it takes a second to import

        self._writer = SummaryWriter(folder / "tensorboard", purge_step=start)
        for point in points:
            if point["iteration"] >= start:  # the measurement at `start` was made before the run resumed
                self(point)

    def __call__(self, point: dict[str, Any]) -> None:
        curves = {_MEASURED.get(name, name): point.get(name) for name in (*_MEASURED, *_OTHERS)}
        curves |= {f"loss by label/{label}": loss for label, loss in point.get("by_label", {}).items()}
        for name, value in curves.items():
            if value is not None:
                self._writer.add_scalar(name, value, point["iteration"])

    def close(self) -> None:
        self._writer.close()


def check_logs(training: TrainingConfig) -> None:
    """Raise RuntimeError if a log that is asked for needs a package that is not there."""
    if training.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise RuntimeError("tensorboard=True needs the package tensorboard: install it, or leave that out")


def open_logs(config: RunConfig, points: Sequence[dict[str, Any]], start: int) -> list[Log]:
    """The logs that the configuration asks for, with the points so far; the run goes on at iteration `start`."""
    folder, logs = Path(config.run_folder), list[Log]()
    if config.training.csv:
        logs.append(CsvLog(folder, points))
    if config.training.tensorboard:
        logs.append(TensorBoardLog(folder, points, start))
    return logs
