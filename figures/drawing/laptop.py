"""A measured run of the preset `laptop`, to its end, on real text."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from style import card, heading, note, panel

from tinyllm import load_run
from tinyllm.plots import BLUE, GREY, ORANGE
from tinyllm.text.holdout import HELD_OUT

PROMPT = "World War II was"
AVERAGED = 50  # steps


def read_run(folder: Path) -> dict[str, Any]:
    """What the picture and README say, from a finished run of the preset on this machine."""
    run = load_run(folder)
    steps = [point for point in run.history if "training_loss" in point]
    watched = [point for point in run.history if "validation_loss" in point]
    ids = np.asarray(run.data.splits["train"].tokens)
    counts = np.bincount(ids, minlength=run.tokenizer.vocab_size) + 1.0
    held_out = np.asarray(run.data.splits[HELD_OUT].tokens)
    score = run.evaluate("validation")
    training = run.config.training
    blocks = training.batch_size * training.gradient_accumulation_steps
    return {
        "vocab_size": run.tokenizer.vocab_size,
        "tokens_per_iteration": blocks * run.config.model.context_length,
        "text_tokens": len(ids),
        "training": [round(point["training_loss"], 3) for point in steps],
        "iterations": [point["iteration"] for point in watched],
        "held_out": [round(point["validation_loss"], 4) for point in watched],
        "unigram": round(float(-np.log(counts / counts.sum())[held_out].mean()), 3),
        # Of the steps that had the machine to themselves: the run shared it with other work.
        "tokens_per_second": round(float(np.percentile([point["tokens_per_second"] for point in steps], 75))),
        "nats_per_token": round(score.nats_per_token, 3),
        "perplexity_per_token": round(score.perplexity_per_token, 1),
        "perplexity_per_word": round(score.perplexity_per_word, 1),
        "samples": [run.generate(PROMPT, maximum_length=90, temperature=0.8, seed=seed) for seed in range(3)],
    }


def loss_curve(numbers: Mapping[str, Any]) -> Figure:
    """The loss by tokens read, from the uniform guess."""
    figure, axes = card(330)
    minutes = len(numbers["training"]) * numbers["tokens_per_iteration"] / numbers["tokens_per_second"] / 60
    title = f"About {minutes:.0f} minutes of work for two CPU cores"
    heading(axes, title, "nats per token of a vocabulary of 4,096, on real text")
    plot = panel(axes, 64, 52, 560, 200)
    millions = numbers["tokens_per_iteration"] / 1e6
    training = np.array(numbers["training"])
    smooth = np.convolve(training, np.ones(AVERAGED) / AVERAGED, "valid")
    plot.plot(millions * (AVERAGED + np.arange(len(smooth))), smooth, color=BLUE, linewidth=1.2, alpha=0.8)
    plot.plot(millions * np.array(numbers["iterations"]), numbers["held_out"], "o-", color=ORANGE, markersize=5)
    end = millions * len(training)
    plot.set(xlim=(-0.1, end * 1.01), xlabel="million tokens read")
    for name, value, style in (
        ("uniform guess", math.log(numbers["vocab_size"]), ":"),
        ("unigram, counted", numbers["unigram"], "--"),
    ):
        plot.axhline(value, color=GREY, linestyle=style, linewidth=1.5, zorder=1)
        note(plot, end * 1.03, value, f"{name}  {value:.2f}", GREY)
    last = numbers["held_out"][-1]
    note(plot, end * 1.03, last, f"held-out articles  {last:.2f}", ORANGE, lift=8)
    note(plot, end * 1.03, float(training[-AVERAGED:].mean()), "training blocks", BLUE, lift=-8)
    return figure
