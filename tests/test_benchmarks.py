"""The benchmark's arithmetic and its contestants, on functions whose time is known."""

import time

import pytest
from benchmarks.measuring import Contestant, alternate, compare, table


def sleeper(seconds: float):
    return lambda: time.sleep(seconds)


def holder(megabytes: int):
    return lambda: len(bytearray(megabytes << 20)) / 1e6


def test_ratios_are_taken_within_each_round_and_judged():
    row = compare("steps", "tokens/s", [100, 20, 300], [50, 10, 100], [200, 40, 300], least=2, least_of_limit=0.6)
    assert (row.ours, row.peer, row.limit, row.to_peer, row.to_limit) == (100, 50, 200, 2, 0.5)
    assert row.target == "≥ 2, ≥ 0.6 of limit"
    assert row.met is False
    assert compare("memory", "GB", [1.0], [2.0], most=0.5).met is True
    assert table([row]).splitlines()[-1] == (
        "| steps | tokens/s | 100 | 50 | 200 | 2 | 0.5 | ≥ 2, ≥ 0.6 of limit | **no** |"
    )


def test_contestants_take_turns_in_processes_of_their_own():
    short, long = Contestant(sleeper, 0.01), Contestant(sleeper, 0.05)
    times = alternate([short, long], 2)
    assert [len(each) for each in times] == [2, 2]
    assert all(a < b and b >= 0.05 for a, b in zip(*times, strict=True))
    large = Contestant(holder, 200)
    assert large.turn() == pytest.approx(209.7, abs=0.1)  # a function may measure itself
    assert large.peak_memory() > short.peak_memory() + 150e6
    for contestant in (short, long, large):
        contestant.end()
