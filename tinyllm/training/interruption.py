"""Ctrl-C and SIGTERM: end after the current step, never in the middle of it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` at the first Ctrl-C or SIGTERM; a second one interrupts at once, as usual.

    An exception in the middle of an optimizer step would leave half of the weights updated. Outside the main thread,
    where Python allows no signal handlers, this does nothing.
    """
    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    previous = {received: signal.getsignal(received) for received in signals}

    def on_signal(received: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(received, previous[signal.Signals(received)])

    for received in signals:
        signal.signal(received, on_signal)
    try:
        yield
    finally:
        for received in signals:
            signal.signal(received, previous[received])
