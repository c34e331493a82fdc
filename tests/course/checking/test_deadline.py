"""What does not end is stopped, in the main thread and in others, and signals are as they were."""

import contextlib
import signal
import threading
import time

import pytest

from tinyllm.course.checking.deadline import Deadline, OutOfTime


def spin(catch=()):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(catch):
            sum(range(100))


def test_a_loop_is_stopped_though_it_catches_exceptions_and_signals_are_put_back():
    before = signal.getsignal(signal.SIGALRM)
    for work in (spin, lambda: spin(Exception), lambda: time.sleep(5)):
        began = time.monotonic()
        with pytest.raises(OutOfTime), Deadline(0.2):
            work()
        assert time.monotonic() - began < 3
    assert signal.getsignal(signal.SIGALRM) is before
    time.sleep(0.15)  # no alarm is left


def test_it_can_be_restarted_and_ends_with_its_block():
    with Deadline(0.4) as deadline:
        for _ in range(4):
            deadline.restart()
            time.sleep(0.15)
    time.sleep(0.3)


def test_other_threads_are_stopped_too():
    ended = []

    def work():
        try:
            with Deadline(0.2):
                spin()
        except OutOfTime:
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(4)
    assert ended == [True]
