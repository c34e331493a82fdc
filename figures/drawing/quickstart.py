"""A measured quickstart run: what its model writes, its loss, and what is learned when."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from style import INK, card, heading, note, panel

from tinyllm import load_run
from tinyllm.evaluation import evaluate_articles
from tinyllm.plots import BLUE, GREEN, GREY, ORANGE
from tinyllm.text import tinywiki
from tinyllm.text.articles import LABELS
from tinyllm.text.holdout import HELD_OUT

KIND_COLOURS = {"grammar": GREY, "choice": ORANGE, "recall": BLUE, "world": GREEN}
KIND_MARKERS = {"grammar": "o", "choice": "s", "recall": "^", "world": "D"}
PROMPT = " = Agatha"
LINE_LENGTH = 88  # characters of 14 points that fill the card


def read_run(folder: Path) -> dict[str, Any]:
    """What the pictures need, from a finished quickstart run on this machine."""
    run = load_run(folder, which="latest")
    config = run.config
    watched = run.data.articles(HELD_OUT)[: config.training.evaluation_blocks]
    end = evaluate_articles(run.model, run.tokenizer, watched)
    steps = [point["training_loss"] for point in run.history if "training_loss" in point]
    measured = [point for point in run.history if "validation_loss" in point]
    return {
        "vocab_size": run.tokenizer.vocab_size,
        "training": [round(loss, 3) for loss in steps],
        "iterations": [point["iteration"] for point in measured],
        "held_out": [round(point["validation_loss"], 4) for point in measured],
        "by_label": {label: [round(p["by_label"][label], 4) for p in measured] for label in LABELS},
        "floor": round(end.floor, 4),
        "forgetful": round(end.forgetful_nats / end.tokens, 4),
        "choice_floor": round(end.by_label["choice"]["floor_nats"] / end.by_label["choice"]["tokens"], 4),
        "writing": run.generate(PROMPT, temperature=0.8, seed=0),
    }


def writing(numbers: Mapping[str, Any]) -> Figure:
    """What the model writes after its minute of training, each word in the colour of its kind."""
    figure, axes = card(304)
    line = "The prompt, in black, is yours. The rest is the model's, each word in the colour of what it takes:"
    heading(axes, "A minute on two CPU cores, and your model writes", line)
    takes = {"grammar": "fixed words", "choice": "a fresh draw", "recall": "attention", "world": "what weights store"}
    for column, (label, words) in enumerate(takes.items()):
        axes.text(28 + 186 * column, 214, f"{label}: {words}", color=KIND_COLOURS[label], weight="bold")
    y = 182.0
    for paragraph in coloured_words(numbers["writing"]):
        x = 0
        for word, colour in paragraph:
            if x + len(word) > LINE_LENGTH:
                x, y = 0, y - 20
            axes.text(28 + 744 / LINE_LENGTH * x, y, word, color=colour, family="DejaVu Sans Mono", fontsize=14)
            x += len(word) + 1
        y -= 20
    return figure


def coloured_words(text: str) -> list[list[tuple[str, str]]]:
    """The paragraphs of an article as words with their colours; those of the prompt are black."""
    paragraphs: list[list[tuple[str, str]]] = [[]]
    begin = 0
    for span in tinywiki.parse(text).spans:
        for part in re.findall(r"\n|[^ \n]+| +", span.text):
            colour = INK if begin < len(PROMPT) else KIND_COLOURS[span.label]
            begin += len(part)
            if part == "\n":
                paragraphs.append([])
            elif part.strip():
                paragraphs[-1].append((part, colour))
    return [paragraph for paragraph in paragraphs if paragraph]


def loss_curve(numbers: Mapping[str, Any]) -> Figure:
    """The quickstart's loss, from the uniform guess to the floor."""
    figure, axes = card(430)
    title = f"{len(numbers['training'])} iterations, from a uniform guess to the floor"
    line = "nats per token, on a logarithmic scale; on unseen articles no model beats the floor, chance aside"
    heading(axes, title, line)
    plot = panel(axes, 64, 52, 560, 300)
    training = np.array(numbers["training"])
    plot.plot(training, color=BLUE, linewidth=0.8, alpha=0.45)
    plot.plot(numbers["iterations"], numbers["held_out"], "o-", color=ORANGE, linewidth=2, markersize=5)
    end = len(training)
    plot.set(yscale="log", xlim=(-10, end + 10), xlabel="iteration", ylim=(0.27, 9))
    plot.yaxis.set_major_locator(FixedLocator([0.3, 0.5, 1, 2, 3, 5]))
    plot.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    plot.yaxis.set_minor_locator(NullLocator())
    uniform = math.log(numbers["vocab_size"])
    marks = {"uniform guess": uniform, "forgetful writer": numbers["forgetful"], "entropy floor": numbers["floor"]}
    for (name, value), style in zip(marks.items(), (":", "--", "-"), strict=True):
        plot.axhline(value, color=GREY, linestyle=style, linewidth=1.5, zorder=1)
        note(plot, end + 24, value, f"{name}  {value:.2f}", GREY)
    note(plot, end + 24, float(training[-50:].mean()), "training blocks", BLUE, lift=10)
    plot.annotate("held-out articles", (150, numbers["held_out"][3]), (28, -34), textcoords="offset points",
                  color=ORANGE, ha="right")  # fmt: skip
    return figure


def kinds(numbers: Mapping[str, Any]) -> Figure:
    """What is learned when: the loss of each kind of token."""
    figure, axes = card(430)
    start = numbers["by_label"]["grammar"][0]
    line = f"held-out nats per token by kind; all begin at {start:.1f}, and the floor is 0 but for choices"
    heading(axes, "Grammar first, then the world, then recall", line)
    plot = panel(axes, 64, 52, 560, 300)
    for label, values in numbers["by_label"].items():
        style = {"color": KIND_COLOURS[label], "marker": KIND_MARKERS[label]}
        plot.plot(numbers["iterations"], values, linewidth=2, markersize=5, **style)
    end = numbers["iterations"][-1]
    floor = numbers["choice_floor"]
    plot.axhline(floor, color=ORANGE, linestyle="--", linewidth=1.5)
    note(plot, end + 24, numbers["by_label"]["choice"][-1], "choice: fresh draws", ORANGE, lift=8)
    note(plot, end + 24, floor, f"their floor  {floor:.2f}", ORANGE, lift=-8)
    for label, x, y in (("recall", 118, 2.0), ("world", 58, 0.85), ("grammar", 62, 0.22)):
        plot.text(x, y, label, color=KIND_COLOURS[label])
    ends = {"recall": "needs attention", "world": "stored in weights", "grammar": "fixed words"}
    for row, (label, words) in enumerate(ends.items()):
        note(plot, end + 24, 0, f"{label}: {words}", KIND_COLOURS[label], lift=40 - 20 * row)
    plot.set(ylim=(0, 2.6), xlim=(-10, end + 10), xlabel="iteration")
    return figure
