"""The dashboard without a browser: a training is watched, stopped, gone on with, and never left alone."""

import re
import signal
import threading
import time

import pytest
from widgets_seen import picture, text_of

import tinyllm


def begun(watched) -> None:
    """Start a training and return once its iterations are counted."""
    watched.start.click()
    deadline = time.monotonic() + 300  # the first one prepares its text
    while "tokens/s" not in watched.status.value:
        assert time.monotonic() < deadline, watched.status.value
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("tqdm"):  # the clock of the first bar of all
            thread.join(timeout=5)
            assert not thread.is_alive()


def test_a_training_is_watched_to_its_end(dashboard, tmp_path):
    watched = dashboard(tmp_path / "run", max_iterations=20)
    empty = picture(watched)
    assert "not started" in watched.status.value
    watched.start.click()
    assert watched.start.disabled and not watched.stop.disabled
    watched.wait()
    assert "finished, at iteration 20 of 20" in watched.status.value
    assert watched.run.finished
    assert picture(watched) != empty
    assert watched.stop.disabled and watched.start.disabled  # there is nothing left to start
    assert len([point for point in watched._points if "training_loss" in point]) == 20


def test_the_stop_button_saves_and_start_goes_on(dashboard, tmp_path):
    watched = dashboard(tmp_path / "run", max_iterations=300)
    begun(watched)
    assert re.search(r"iteration \d+ of 300, [\d,]+ tokens/s, about \d+ seconds left", watched.status.value)
    watched.stop.click()
    watched.wait()
    assert "stopped and saved; Start goes on from there" in watched.status.value
    assert watched.stop.disabled and not watched.start.disabled
    stopped = watched.run.iteration
    assert 0 < stopped < 300
    assert tinyllm.load_run(tmp_path / "run", "latest").iteration == stopped
    again = dashboard(tmp_path / "run", max_iterations=300)
    assert len(again._points) >= stopped  # what was there is drawn before anything starts
    assert "an earlier training is here" in again.status.value
    begun(again)
    again.stop.click()
    again.wait()
    assert again.run.iteration > stopped


def test_an_error_is_shown_where_the_learner_looks(dashboard, tmp_path):
    missing = dashboard(tmp_path / "run", max_iterations=1, data=str(tmp_path / "missing.txt"))
    missing.start.click()
    missing.wait()
    assert "missing.txt" in missing.status.value
    assert not missing.start.disabled and missing.stop.disabled


def test_a_dashboard_of_a_finished_run_loads_it_and_ends(dashboard, tmp_path):
    first = dashboard(tmp_path / "run", max_iterations=3)
    first.start.click()
    first.wait()
    again = dashboard(tmp_path / "run", max_iterations=3)
    assert "an earlier training is here, up to iteration 3 of 3" in text_of(again.status)
    again.start.click()
    again.wait()
    assert again.run.finished and again.start.disabled


def test_a_second_dashboard_stops_and_saves_what_the_first_one_trains(dashboard, tmp_path, monkeypatch):
    first = dashboard(tmp_path / "run", max_iterations=3000)
    other = dashboard(tmp_path / "other", max_iterations=3000)
    begun(first)
    begun(other)
    monkeypatch.chdir(tmp_path)
    second = dashboard("run", max_iterations=3000)  # the same folder in other words
    assert "stopped and saved" in first.status.value
    assert not other.stop.disabled
    assert f"an earlier training is here, up to iteration {first.run.iteration}" in text_of(second.status)
    begun(second)
    for one in (second, other):
        one.stop.click()
        one.wait()
    assert second.run.iteration > first.run.iteration > 0


def test_an_interrupted_wait_stops_and_saves(dashboard, tmp_path):
    watched = dashboard(tmp_path / "run", max_iterations=3000)
    begun(watched)
    timer = threading.Timer(0.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    timer.start()
    watched.wait()
    timer.join()
    assert "stopped and saved" in watched.status.value
    assert tinyllm.load_run(tmp_path / "run", "latest").iteration == watched.run.iteration
