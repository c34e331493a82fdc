"""Inside a training step on a GPU: the same bits twice, no waiting, and where the time goes."""

import contextlib
import json
import operator
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from on_cuda import CLASSIC, MODERN, Bench, train
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

import tinyllm
from tinyllm import GPT
from tinyllm.system.device import synchronize
from tinyllm.system.distributed import Processes
from tinyllm.system.precision import matrix_products
from tinyllm.training.loop import Trainer

DETERMINISTIC_STEPS, CUT = 24, 4
KERNELS = 25


def deterministic_elsewhere(bench: Bench, arguments: list[str]) -> None:
    """`deterministic_rows` in a process of its own: torch reads cuBLAS's setting once, before its first product."""
    command = [sys.executable, str(Path(__file__).parent), "--device", "cuda", "--text", bench.text, "deterministic"]
    left = max(1.0, bench.ends - time.perf_counter())
    command += ["--limit", f"{left:.0f}", "--home", os.environ["TINYLLM_HOME"], *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for printed in process.stdout:
            row = json.loads(printed) if printed.startswith("{") else {"part": ""}
            if row["part"] == "deterministic":
                usual, speed = bench.speeds.get(row["what"]), row.get("tokens_per_second")
                bench.row(**row, **({"of_usual_speed": speed / usual} if usual and speed else {}))
    if process.returncode:
        bench.row("deterministic", "failed", error=f"exit status {process.returncode}")


def deterministic_rows(bench: Bench) -> None:
    """Two equal runs, and one that was cut and resumed: the largest difference of their weights, and their speed."""
    for preset in (CLASSIC, MODERN):
        with bench.attempt("deterministic", preset):
            _compare_runs(bench, preset)


def _compare_runs(bench: Bench, preset: str) -> None:
    steps = 8 if bench.tiny else DETERMINISTIC_STEPS
    config = bench.config(preset).replace(deterministic=True, max_iterations=steps)
    first, speed = train(bench, config, f"{preset} first", max_iterations=steps)
    second, _ = train(bench, config, f"{preset} second", max_iterations=steps)
    bench.row("deterministic", preset, **speed, steps=steps, run_twice=_difference(first.model, second.model))
    cut = {"config": config, "run_folder": bench.folder / f"{preset} cut", "progress": False}
    stopped = tinyllm.train(on_step=lambda point: point["iteration"] >= CUT - 1, **cut)
    resumed = tinyllm.train(**cut)
    difference = _difference(first.model, resumed.model)
    bench.row("deterministic", f"{preset}, resumed", cut_after=stopped.iteration, difference=difference)


def _difference(a: GPT, b: GPT) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max((x.detach() - y.detach()).abs().max().item() for x, y in pairs)


@contextlib.contextmanager
def warm_trainer(bench: Bench, preset: str) -> Iterator[Trainer]:
    """A trainer that has done its first steps: compiled, and its optimizer's state allocated."""
    folder = bench.folder / f"{preset} trainer {len(bench.rows)}"
    folder.mkdir()
    config = bench.config(preset).replace(run_folder=folder, max_iterations=100)
    trainer = Trainer(config, None, Processes(bench.device), progress=False)
    with matrix_products(bench.device), trainer.history:
        trainer.begin()  # which scores the held-out text
        for _ in range(4):
            trainer.step()
        synchronize(bench.device)
        yield trainer


def waiting_rows(bench: Bench) -> None:
    """How often Python waits for the GPU in five steps, and where; if never, five more in which that is an error."""
    if bench.device.type != "cuda":
        return bench.row("waiting", "skipped: only CUDA can tell")
    for preset in (MODERN, CLASSIC):
        with bench.attempt("waiting", preset), warm_trainer(bench, preset) as trainer:
            places = _waits(trainer)
            error = None if places else _first_wait(trainer)
            bench.row("waiting", preset, steps=5, waits=sum(places.values()), places=dict(places), error=error)


def _waits(trainer: Trainer) -> Counter[str]:
    """Where Python waited, and how often."""
    with warnings.catch_warnings(record=True) as caught, _sync_mode("warn"):
        warnings.simplefilter("always")
        for _ in range(5):
            trainer.step()
    return Counter(f"{w.filename}:{w.lineno}" for w in caught if "called a synchronizing" in str(w.message))


def _first_wait(trainer: Trainer) -> str | None:
    """The error that the first wait raises, and the lines that led to it."""
    try:
        with _sync_mode("error"):
            for _ in range(5):
                trainer.step()
    except RuntimeError as error:
        frames = traceback.extract_tb(error.__traceback__)
        return f"{error} at " + " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-4:])
    return None


@contextlib.contextmanager
def _sync_mode(mode: str) -> Iterator[None]:
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def profile_rows(bench: Bench) -> None:
    """The kernels of one modern step that take most time; and the two optimizers' steps alone."""
    on_cuda = bench.device.type == "cuda"
    with warm_trainer(bench, MODERN) as trainer:
        wall = bench.seconds(trainer.step)
        with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA][:on_cuda]]) as profiler:
            trainer.step()
            synchronize(bench.device)
        trainer.gradients()
        for name, optimizer in trainer.optimizer.parts.items():
            seconds = bench.seconds(lambda optimizer=optimizer: [optimizer.step() for _ in range(10)]) / 10
            bench.row("profile", f"{name}.step()", ms=1000 * seconds)
    events = [event for event in profiler.key_averages() if not on_cuda or event.device_type == DeviceType.CUDA]
    events = [event for event in events if not getattr(event, "is_user_annotation", False)]
    time_of = operator.attrgetter("self_device_time_total" if on_cuda else "self_cpu_time_total")  # microseconds
    busy, launches = sum(map(time_of, events)) / 1000, sum(event.count for event in events)
    what = "a modern step" if on_cuda else "a modern step (no GPU: operators of the CPU)"
    bench.row("profile", what, ms=1000 * wall, busy_ms=busy, launches=launches)
    for event in sorted(events, key=time_of, reverse=True)[:KERNELS]:
        bench.row("profile", event.key[:100], ms=time_of(event) / 1000, count=event.count)
