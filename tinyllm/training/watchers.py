"""Who watches a run: the progress bar, the logs, and the caller's `on_step`. None of them can cost it."""

import contextlib
import copy
import threading
from collections.abc import Callable
from typing import Any

from tqdm.auto import tqdm

from tinyllm.config import RunConfig
from tinyllm.system.bars import Bar
from tinyllm.system.validation import plain
from tinyllm.training.history import History
from tinyllm.training.logs import open_logs

OnStep = Callable[[dict[str, Any]], bool | None]
"""Called with a copy of each point of the history as it is made; returns True to stop the run."""


class Watchers:
    """Shows the points of the history to all who watch, in the first process. Use it as a context manager.

    What a watcher raises, from a broken pipe to an error in the caller's function, asks the run to stop, which saves
    it, and waits in `failure` until then.
    """

    def __init__(self, config: RunConfig, history: History, start: int, shown: bool, on_step: OnStep | None):
        self.stop = threading.Event()
        self._config, self._history, self._start = config, history, start
        self._bar = Bar(total=config.training.max_iterations, initial=start, disable=not shown, unit="it")
        self._watch: list[OnStep] = [] if on_step is None else [on_step]
        self._close: list[Callable[[], None]] = [self._bar.close]
        self.failure: BaseException | None = None

    def __enter__(self) -> "Watchers":
        self._watch.append(self._move_bar)
        if self._history.writes:
            logs = open_logs(self._config, self._history.points, self._start)
            self._watch += logs
            self._close += [log.close for log in logs]
        return self

    def __exit__(self, *_: object) -> None:
        for close in self._close:
            self._try(close)

    def show(self, point: dict[str, Any]) -> None:
        """Show everybody a new point; one who returns True stops the run, one who fails is shown no more."""
        for watch in list(self._watch):
            if plain(self._try(watch, copy.deepcopy(point))) is True:  # who watches may change what it is given
                self.stop.set()

    def say(self, line: str) -> None:
        """Print a line beside the bar."""
        self._try(tqdm.write, line)

    def _try(self, function: Callable[..., Any], *arguments: object) -> Any:
        try:
            return function(*arguments)
        except BaseException as error:  # Ctrl-C too: between two steps the weights are whole, and can be saved
            _unlock_bars()
            self.failure = self.failure or error
            self._watch = [watch for watch in self._watch if watch != function]
            self.stop.set()

    def _move_bar(self, point: dict[str, Any]) -> None:
        if "training_loss" in point:
            shown = f"loss {point['training_loss']:.3f}, {point['tokens_per_second']:,.0f} tokens/s"
            self._bar.set_postfix_str(shown, refresh=False)
            self._bar.update()


def _unlock_bars() -> None:
    """Let go of tqdm's lock, which it keeps where a stream fails: bars of other threads would wait for it for ever."""
    with contextlib.suppress(RuntimeError, AssertionError):  # not held by this thread, or not any more
        while True:
            tqdm.get_lock().release()
