"""An end for code that does not end: a learner's loop may have lost its way out."""

import ctypes
import math
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self

_REPEAT = 0.1  # seconds: an exception raised in somebody's callback, or caught by a bare `except`, goes nowhere


class OutOfTime(BaseException):
    """The deadline has passed. Not an Exception, so that an `except Exception` in a loop does not catch it."""


class Deadline:
    """`with Deadline(10) as deadline`: what is inside is stopped after ten seconds, by OutOfTime, again and again.

    `restart` gives it the whole time once more, but no longer than `whole` seconds in all. In the main thread a signal
    does it, also where code sleeps or waits; in another one the exception comes with the next line of Python.
    """

    def __init__(self, seconds: float, whole: float = math.inf):
        self.seconds, self.whole = seconds, whole
        self._signals = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
        self._thread = threading.get_ident()
        self._ended, self._lock = threading.Event(), threading.Lock()

    def restart(self) -> None:
        """Begin the time anew."""
        now = time.monotonic()
        self._end = min(now + self.seconds, self._began + self.whole)
        if self._signals:
            signal.setitimer(signal.ITIMER_REAL, max(self._end - now, 0.001), _REPEAT)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if self._signals:
            self._handler = signal.signal(signal.SIGALRM, self._stop)
            self._timer = signal.getitimer(signal.ITIMER_REAL)  # a test runner's own limit
            self.restart()
        else:
            self.restart()
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with self._lock:
                self._ended.set()
        finally:
            if self._signals:
                self._put_back()
            else:
                _raise_in(self._thread, None)  # one that is on its way goes nowhere

    def _put_back(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler)
        left, interval = self._timer
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - self._began), 0.001), interval)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self._ended.is_set():
            raise OutOfTime

    def _watch(self) -> None:
        while not self._ended.wait(_REPEAT):
            with self._lock:
                if time.monotonic() > self._end and not self._ended.is_set():
                    _raise_in(self._thread, OutOfTime)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    raised = ctypes.py_object(error) if error else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
