"""A training that is watched, stopped and gone on with from a notebook."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets

from tinyllm.config import RunConfig
from tinyllm.course.widgets.live import Live, as_html, status
from tinyllm.plots import Picture, loss_curve
from tinyllm.presets import get_preset
from tinyllm.run import Run, train
from tinyllm.training.history import read_history

_REDRAW_SECONDS = 2  # at least; drawing takes time from the training


class TrainingDashboard(Live):
    """Start a training, watch its loss fall from the baselines towards the floor, and stop and save it at any time.

    The training runs in a thread, so that other cells and the buttons work meanwhile. Start resumes what was saved. A
    second dashboard for a run folder, as where the cell is run again, first stops and saves what the first one trains.

    Args:
        config: the name of a preset, or a `RunConfig`.
        lines: horizontal lines to compare with, {label: nats per token}.
        overrides: any field of the configuration, as for `train`.
    """

    _last: ClassVar[dict[Path, "TrainingDashboard"]] = {}
    """The dashboard that was made last for a run folder."""

    def __init__(
        self, config: str | RunConfig = "quickstart", lines: Mapping[str, float] | None = None, **overrides: Any
    ):
        self.config = (get_preset(config) if isinstance(config, str) else config).replace(**overrides)
        self.run: Run | None = None
        """The run so far, once the training has finished or been stopped."""
        folder = Path(self.config.run_folder).resolve()
        if folder in self._last:
            self._last[folder].end()
        self._last[folder] = self
        self._lines, self._points, self._drawn = lines, read_history(folder), 0.0
        self._stopping, self._idle = threading.Event(), threading.Event()
        self._idle.set()
        self.start = ipywidgets.Button(description="Start")
        self.stop = ipywidgets.Button(description="Stop and save", disabled=True)
        self.status = ipywidgets.HTML()
        self._view = ipywidgets.HTML()
        self.start.on_click(self._begin)
        self.stop.on_click(lambda _: self._stopping.set())
        super().__init__(self._show(self._found()), ipywidgets.HBox([self.start, self.stop]), self.status, self._view)

    def wait(self) -> None:
        """Return when no training is running. Jupyter's stop button stops and saves it, as it does for `train`."""
        try:
            self._idle.wait()
        except KeyboardInterrupt:
            self.end()

    def end(self) -> None:
        """Stop and save the training, if one is running; return when that is done."""
        self._stopping.set()
        self._idle.wait()

    def _found(self) -> str:
        """What a dashboard says before anything has started."""
        if not self._points:
            return "not started"
        last, total = self._points[-1], self.config.training.max_iterations
        here = last["iteration"] + ("training_loss" in last)  # a step's point counts those before it
        return f"an earlier training is here, up to iteration {here:,} of {total:,}; Start goes on from what it saved"

    def _begin(self, _button: Any) -> None:
        if not self._idle.is_set():
            return
        self.start.disabled, self.stop.disabled = True, False
        self._stopping.clear()
        self._idle.clear()
        self._points = []
        self._say("starting")
        threading.Thread(target=self._train, daemon=True).start()

    def _train(self) -> None:
        try:
            self.run = train(self.config, on_step=self._follow, progress=False)
            self._points = self.run.history
            done = "finished" if self.run.finished else "stopped and saved; Start goes on from there"
            self._show(f"{done}, at iteration {self.run.iteration:,} of {self.config.training.max_iterations:,}")
        except Exception as error:  # shown in the status: nobody sees what a thread raises
            self._say(f"{type(error).__name__}: {error}")
        finally:
            self.start.disabled, self.stop.disabled = self.run is not None and self.run.finished, True
            self._idle.set()

    def _follow(self, point: dict[str, Any]) -> bool:
        self._points.append(point)
        if time.monotonic() - self._drawn > _REDRAW_SECONDS and "tokens_per_second" in point:
            total, done = self.config.training.max_iterations, point["iteration"] + 1
            left = (total - done) * point["seconds"]
            speed = f"{point['tokens_per_second']:,.0f} tokens/s"
            self._show(f"iteration {done:,} of {total:,}, {speed}, about {left:,.0f} seconds left")
            self._drawn = time.monotonic()
        return self._stopping.is_set()

    def _show(self, text: str) -> Picture:
        self._say(text)
        picture = loss_curve(self._points, self._lines)
        picture.axes[0].set_xlim(0, self.config.training.max_iterations)
        self._view.value = as_html(picture)
        return picture

    def _say(self, text: str) -> None:
        self.status.value = status(text)
