"""Less memory: layers that are computed again, and forward passes that are cut smaller where a GPU has no more room."""

import contextlib
from collections.abc import Iterator

import torch
from on_cuda import CLASSIC, Bench, train
from on_cuda_steps import warm_trainer

SCARCE = 4e9  # bytes, of which weights, averages and gradients take 0.8e9


def recompute_rows(bench: Bench) -> None:
    """Memory and speed of a step with `recompute=True`."""
    _, measured = train(bench, bench.config(CLASSIC), "recompute", max_iterations=bench.steps // 2, recompute=True)
    usual = bench.speeds.get(CLASSIC)
    beside = {"of_usual_speed": measured["tokens_per_second"] / usual} if usual else {}
    bench.row("memory", "recompute", **measured, **beside)


def scarce_rows(bench: Bench) -> None:
    """Four steps with all memory, and four with little: how they are cut, and how far their losses differ."""
    if bench.device.type != "cuda":
        return bench.row("memory", "skipped: only CUDA runs out of it in a way that can be mended")
    losses = {}
    for what, room in (("all memory", contextlib.nullcontext()), ("4 GB", _little_room())):
        torch.cuda.empty_cache()
        with room, warm_trainer(bench, CLASSIC) as trainer:
            trainer.note()
            losses[what] = [point["training_loss"] for point in trainer.history.points if "training_loss" in point]
            held_out = trainer.measure()
            bench.row("memory", what, blocks_in_a_pass=trainer.cut.blocks, losses=losses[what], held_out=held_out)
    apart = max(abs(a - b) for a, b in zip(*losses.values(), strict=True))
    bench.row("memory", "losses apart", nats=apart)


@contextlib.contextmanager
def _little_room() -> Iterator[None]:
    torch.cuda.set_per_process_memory_fraction(SCARCE / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def memory_rows(bench: Bench) -> None:
    for part in (scarce_rows, recompute_rows):
        with bench.attempt("memory", part.__name__):
            part(bench)
