"""The benchmark's arithmetic and its contestants, on functions whose time is known; and the GPU table without a GPU."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.measuring import Contestant, alternate, compare, table
from benchmarks.on_cuda import Bench, Steps
from benchmarks.on_cuda import table as table_of_gpu

from tinyllm.text import tinywiki


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


def fail(bench: Bench) -> None:
    raise ValueError("too hot")


def test_gpu_rows_are_printed_when_measured_and_an_error_is_one(tmp_path, capsys):
    bench = Bench("tinywiki", tiny=True, limit=100, folder=tmp_path)
    parts = {"first": fail, "second": lambda bench: bench.row("second", "a speed", ms=1.23456)}
    bench.measure(parts, ["second", "first"])
    bench.ends = time.perf_counter()
    bench.measure(parts, ["second"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == bench.rows
    assert [row for row in rows if row["part"] != "machine"] == [
        {"part": "first", "what": "failed", "error": "ValueError: too hot"},
        {"part": "second", "what": "a speed", "ms": 1.235},
        {"part": "second", "what": "not started: no time left"},
    ]
    assert "| second | a speed | ms 1.235 |" in table_of_gpu(bench.rows).splitlines()


def test_a_gpu_speed_is_that_of_the_second_half_of_the_steps(tmp_path):
    steps = Steps(Bench("tinywiki", tiny=True, limit=100, folder=tmp_path), expected=6)
    steps.ends = [10.0, 20.0, 30.0, 30.5, 31.0, 31.5]
    assert steps.measured(tokens=100) == {"tokens_per_second": 200, "ms_a_step": 500, "peak_gb": None}


def test_the_gpu_tables_texts_are_scored_and_encoded_alike_by_the_peers(tmp_path):
    """Without a GPU, with tiny sizes: transformers, given the same weights and windows, finds the same nats."""
    text = tmp_path / "text.txt"
    text.write_text("".join(article.text for article in tinywiki.articles("validation")))
    benchmarks = str(Path(__file__).parent / "benchmarks")
    command = [sys.executable, benchmarks, "--device", "cuda", "--tiny", "--text", str(text), "evaluation", "preparing"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert not any("error" in row for row in rows), rows
    apart = {row["what"]: row["more_nats_than_exact"] for row in rows if row["part"] == "evaluation"}
    assert apart.keys() == {"float32", "transformers, float32", "bfloat16", "transformers, bfloat16"}
    assert apart["transformers, float32"] == pytest.approx(0, abs=1e-5)
    beside = next(row for row in rows if row["what"] == "beside tiktoken alone")
    assert min(beside["mb_per_second"], beside["threads"], beside["processes"]) > 0


def test_without_a_gpu_the_gpu_table_says_so_in_one_line():
    command = [sys.executable, str(Path(__file__).parent / "benchmarks"), "--device", "cuda"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "there is no CUDA device here (--tiny tries this script without one)\n"
