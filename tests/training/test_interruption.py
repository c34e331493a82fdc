"""Ctrl-C and SIGTERM end a run after the current step; a second Ctrl-C at once."""

import os
import signal
import threading

import pytest
from small_runs import assert_same_end, in_another_process, quietly, small_run

from tinyllm.training.checkpoint import find_checkpoint
from tinyllm.training.interruption import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_go_on_and_the_rest_is_bit_exact(text, tmp_path, uninterrupted, number):
    config = small_run(text, tmp_path)
    with in_another_process(config, pause=0.3) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "the same call resumes" in out
    assert f"iterations {find_checkpoint(tmp_path).iteration}\n" in out
    assert 3 <= find_checkpoint(tmp_path).iteration < 10
    quietly(config)
    assert_same_end(tmp_path, uninterrupted)


def test_a_second_ctrl_c_interrupts_at_once(text, tmp_path):
    def impatient(point):
        if point["iteration"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by jobs in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            quietly(small_run(text, tmp_path), on_step=impatient)
    finally:
        signal.signal(signal.SIGINT, before)
    assert find_checkpoint(tmp_path).iteration == 3  # in `on_step`, whose errors never cost a run


def test_signal_handlers_are_given_back(text, tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    during = []
    quietly(
        small_run(text, tmp_path, max_iterations=1),
        on_step=lambda point: during.append(signal.getsignal(signal.SIGINT)),
    )
    assert during[0] is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_training_from_another_thread(text, tmp_path, uninterrupted):
    """Notebook widgets and servers do; Python allows signal handlers in the main thread only."""
    results = []
    thread = threading.Thread(target=lambda: results.append(quietly(small_run(text, tmp_path))))
    thread.start()
    thread.join()
    assert results[0].finished
    assert_same_end(tmp_path, uninterrupted)


@pytest.mark.parametrize("received", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_sets_the_event_and_the_second_is_as_usual(received):
    stop, usual = threading.Event(), signal.getsignal(received)
    with stop_on_signals(stop):
        assert not stop.is_set()
        os.kill(os.getpid(), received)
        assert stop.is_set()
        assert signal.getsignal(received) is usual


def test_handlers_are_given_back_after_an_error_too():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), stop_on_signals(threading.Event()):
        raise RuntimeError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
