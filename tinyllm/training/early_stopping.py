"""What the held-out loss says of a run: which measurement is the best one, and when it is time to stop.

All of it follows from the history, so a run that was stopped and resumed decides as one that never was.
"""

from collections.abc import Sequence
from typing import Any

from tinyllm.config import TrainingConfig


def measurements(history: Sequence[dict[str, Any]], iteration: int | None = None) -> list[dict[str, Any]]:
    """The held-out losses of a history, up to an iteration. That of the untrained model is not one of training's."""
    measured = [point for point in history if "validation_loss" in point and point["iteration"] > 0]
    return measured if iteration is None else [point for point in measured if point["iteration"] <= iteration]


def best_measurement(measured: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The lowest held-out loss, the first one of several; None before the first."""
    return min(measured, key=lambda point: point["validation_loss"], default=None)


def out_of_patience(measured: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the last `patience` measurements all brought no new best."""
    best = best_measurement(measured)
    if best is None or patience is None:
        return False
    since = [point for point in measured if point["iteration"] > best["iteration"]]
    return len(since) >= patience


def is_finished(training: TrainingConfig, history: Sequence[dict[str, Any]], iteration: int) -> bool:
    """Whether a run has had all its steps at this iteration, or ended there because its patience did."""
    measured = measurements(history, iteration)
    return iteration >= training.max_iterations or out_of_patience(measured, training.patience)
