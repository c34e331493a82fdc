"""Draws every picture that README shows.

    python figures/draw.py                                  draw all of them again
    python figures/draw.py quickstart models/quickstart     first read the figures of a finished quickstart run

What the second command reads is kept in quickstart.json, so the first needs neither a run nor a network. The same
numbers give the same bytes.
"""

import argparse
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from PIL import Image

from tinyllm import GPT, ModelConfig, load_run, tinywiki
from tinyllm.data import held_out_documents
from tinyllm.estimate import count_parameters
from tinyllm.evaluation import evaluate_articles
from tinyllm.plots import BLUE, GREEN, GREY, ORANGE
from tinyllm.presets import get_preset

FOLDER = Path(__file__).parent
NUMBERS = FOLDER / "quickstart.json"

# Lengths are in points, and a point becomes two pixels: shown 800 pixels wide, as on GitHub, a point is one pixel.
WIDTH = 800
DPI = 144
INK, LINE, PALE = "#1F2328", "#8C959F", "#D0D7DE"
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.labelsize": 12,
    "axes.linewidth": 1,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
KIND_COLOURS = {"grammar": GREY, "choice": ORANGE, "recall": BLUE, "world": GREEN}
KIND_MARKERS = {"grammar": "o", "choice": "s", "recall": "^", "world": "D"}


# The card that every picture stands on


def card(height: float) -> tuple[Figure, Axes]:
    """A white card with round corners, readable on light and dark pages; its axes are in points from the lower left."""
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=DPI, facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    corners = "round,pad=0,rounding_size=12"
    axes.add_patch(FancyBboxPatch((1, 1), WIDTH - 2, height - 2, corners, facecolor="white", edgecolor=PALE))
    return figure, axes


def panel(card: Axes, left: float, bottom: float, width: float, height: float) -> Axes:
    """A plot on the card, its place in points."""
    high = card.get_ylim()[1]
    axes = card.figure.add_axes((left / WIDTH, bottom / high, width / WIDTH, height / high), facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=PALE, linewidth=0.8, alpha=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=3)
    return axes


def heading(card: Axes, title: str, line: str) -> None:
    """What the picture says, and a line on how to read it."""
    high = card.get_ylim()[1]
    card.text(28, high - 36, title, fontsize=16, weight="bold")
    card.text(28, high - 58, line, fontsize=12, color=GREY)


# The reference model


def part_sizes(config: ModelConfig) -> dict[str, int]:
    """The parameters of each part, counted in a real model whose weights take no memory."""
    with torch.device("meta"):
        model = GPT(config)
    block = model.blocks[0]
    modules = {
        "embedding": model.token_embedding,
        "positions": model.position_embedding,
        "block": block,
        "attention": block.attention,
        "feedforward": block.feedforward,
        "final_norm": model.final_norm,
        "total": model,
    }
    sizes = {name: sum(weight.numel() for weight in module.parameters()) for name, module in modules.items()}
    assert sizes["total"] == count_parameters(config)
    return sizes


def millions(number: int) -> str:
    return f"{number / 1e6:.2f}M" if number < 10e6 else f"{number / 1e6:.1f}M"


EMBEDDING, ATTENTION, FEEDFORWARD, PLAIN = "#FBE3C8", "#CFE5F5", "#CDEBDF", "#F1F3F5"  # tints of the plots' colours
STREAM = 218  # its height on the card


def architecture(config: ModelConfig) -> Figure:
    """The model with its shapes and its parameters: one straight residual stream that the blocks read and add to."""
    C, F, V = config.embedding_dim, config.feedforward_dim, config.vocab_size
    sizes = part_sizes(config)
    figure, axes = card(542)
    heading(
        axes,
        f"The reference model: {sizes['total']:,} parameters",
        f"B texts,  T = {config.context_length} tokens at most,  C = {C} numbers a token,  V = {V:,} different tokens",
    )

    # The blocks, a pile of cards, and the stream that runs straight through them.
    left, right, low, high = 286, 568, STREAM - 58, STREAM + 234
    for shift in (8, 4, 0):
        box(axes, left + shift, low + shift, right - left, high - low, colour="white")
    axes.text(left + 14, high - 25, f"{config.num_layers} × block", fontsize=13, weight="bold")
    axes.text(right - 14, high - 25, f"{millions(sizes['block'])} each", color=GREY, ha="right")
    axes.text((left + right) / 2, low + 13, "residual stream  (B, T, C)", color=BLUE, ha="center")
    axes.plot([184, 576], [STREAM, STREAM], color=BLUE, linewidth=5, solid_capstyle="butt")
    arrow(axes, (566, STREAM), (586, STREAM), BLUE, 5)
    heads = f"{config.num_heads} heads of {config.head_dim}"
    branch(axes, left + 14, f"causal\nattention\n{heads}", millions(sizes["attention"]), ATTENTION)
    hidden = f"feed-forward\n{C} → {F:,}\nGELU → {C}"
    branch(axes, left + 150, hidden, millions(sizes["feedforward"]), FEEDFORWARD)

    # In: ids become vectors.
    box(axes, 28, STREAM - 34, 58, 68, "token\nids", "(B, T)")
    arrow(axes, (86, STREAM), (104, STREAM))
    box(axes, 104, STREAM - 34, 80, 68, "token\nembedding", millions(sizes["embedding"]), EMBEDDING)
    box(axes, 163, STREAM + 84, 80, 50, "positions", millions(sizes["positions"]), EMBEDDING)
    arrow(axes, (203, STREAM + 84), (203, STREAM + 9))
    plus(axes, 203)
    box(axes, 219, STREAM - 12, 56, 24, "dropout")

    # Out: vectors become a guess at each next token.
    box(axes, 586, STREAM - 25, 74, 50, "final\nLayerNorm")
    arrow(axes, (660, STREAM), (676, STREAM))
    box(axes, 676, STREAM - 34, 96, 68, "head", "C → V", EMBEDDING)
    arrow(axes, (724, STREAM + 34), (724, STREAM + 84))
    box(axes, 676, STREAM + 84, 96, 50, "logits", "(B, T, V)")
    arrow(axes, (724, STREAM + 134), (724, STREAM + 184))
    box(axes, 676, STREAM + 184, 96, 50, "cross-entropy\nwith targets")

    # The head's matrix is the embedding's.
    below = STREAM - 80
    axes.plot([144, 144, 724, 724], [STREAM - 34, below, below, STREAM - 34], "--", color=ORANGE, linewidth=1.3)
    tied = axes.text((left + right) / 2, below - 4, "tied: one V × C matrix, used twice", color=ORANGE, ha="center")
    tied.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 4})
    parameter_strip(axes, config.num_layers, sizes)
    return figure


def box(
    axes: Axes,
    left: float,
    bottom: float,
    width: float,
    height: float,
    text: str = "",
    note: str = "",
    colour: str = PLAIN,
) -> None:
    """A part: its name, and below it in grey its size or shape. Each line is set by itself, at even distances."""
    corners = "round,pad=0,rounding_size=5"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, corners, facecolor=colour, edgecolor=LINE, zorder=2))
    lines = [(line, INK) for line in text.splitlines()] + [(line, GREY) for line in note.splitlines()]
    for row, (line, ink) in enumerate(lines):
        y = bottom + height / 2 + 15 * ((len(lines) - 1) / 2 - row) - 4
        axes.text(left + width / 2, y, line, fontsize=11, color=ink, ha="center")


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK, width: float = 1.3
) -> None:
    look = {"arrowstyle": "-|>", "mutation_scale": 8 + 2 * width, "shrinkA": 0, "shrinkB": 0, "zorder": 2}
    axes.annotate("", end, start, arrowprops=look | {"color": colour, "linewidth": width, "joinstyle": "miter"})


def plus(axes: Axes, x: float) -> None:
    """Where something is added to the stream."""
    axes.plot(x, STREAM, "o", markersize=17, color="white", markeredgecolor=BLUE, markeredgewidth=1.8)
    axes.plot(x, STREAM, "+", markersize=9, color=BLUE, markeredgewidth=1.8)


def branch(axes: Axes, left: float, text: str, note: str, colour: str) -> None:
    """One sub-layer: it reads the stream, works on a normalised copy, and adds what it found."""
    middle, back, top = left + 48, left + 112, STREAM + 195
    axes.plot(middle, STREAM, "o", markersize=8, color=BLUE)
    for start, end in ((0, 26), (50, 66), (142, 158)):
        arrow(axes, (middle, STREAM + start), (middle, STREAM + end), BLUE, 1.8)
    axes.plot([middle, middle, back, back], [STREAM + 182, top, top, STREAM + 20], color=BLUE, linewidth=1.8)
    arrow(axes, (back, STREAM + 30), (back, STREAM + 8), BLUE, 1.8)
    plus(axes, back)
    box(axes, left, STREAM + 26, 96, 24, "LayerNorm")
    box(axes, left, STREAM + 66, 96, 76, text, note, colour)
    box(axes, left, STREAM + 158, 96, 24, "dropout")
    for x, word in ((middle, "read"), (back, "add")):
        axes.text(x, STREAM - 24, word, fontsize=11, color=BLUE, ha="center")


def parameter_strip(axes: Axes, num_layers: int, sizes: Mapping[str, int]) -> None:
    """All parameters side by side, each part as wide as its share."""
    left, width, bottom, height = 28, 744, 50, 30
    scale = width / sizes["total"]
    axes.text(left, bottom + height + 11, "Where the parameters are", weight="bold")

    def part(start: float, number: int, colour: str) -> float:
        axes.add_patch(Rectangle((start, bottom), number * scale, height, facecolor=colour, edgecolor="none"))
        return start + number * scale

    def share(name: str, number: int) -> str:
        return f"{name}  {millions(number)}  ({number / sizes['total']:.1%})"

    edge = part(left, sizes["embedding"], EMBEDDING)
    start = part(edge, sizes["positions"], ORANGE)
    axes.text((left + edge) / 2, bottom + 11, share("embedding = head", sizes["embedding"]), ha="center")
    axes.text((edge + start) / 2, bottom - 20, share("positions", sizes["positions"]), color=ORANGE, ha="center")
    for _ in range(num_layers):
        part(start, sizes["block"], FEEDFORWARD)
        part(start, sizes["attention"], ATTENTION)
        start += sizes["block"] * scale
        axes.plot([start, start], [bottom, bottom + height], color="white", linewidth=2)
    axes.text(left + width, bottom - 20, share(f"{num_layers} blocks", num_layers * sizes["block"]), ha="right")


# A measured quickstart run


def read_run(folder: Path) -> dict[str, Any]:
    """The numbers that two pictures need, from a finished quickstart run on this machine."""
    run = load_run(folder, which="latest")
    config = run.config
    articles = tinywiki.articles("train")
    held_out = held_out_documents(len(articles), config.dataset.validation_fraction, config.dataset.split_seed)
    watched = [articles[place] for place in sorted(held_out)[: config.training.evaluation_blocks]]
    end = evaluate_articles(run.model, run.tokenizer, watched)
    steps = [point["training_loss"] for point in run.history if "training_loss" in point]
    measured = [point for point in run.history if "validation_loss" in point]
    return {
        "vocab_size": run.tokenizer.vocab_size,
        "training": [round(loss, 3) for loss in steps],
        "iterations": [point["iteration"] for point in measured],
        "held_out": [round(point["validation_loss"], 4) for point in measured],
        "by_label": {label: [round(p["by_label"][label], 4) for p in measured] for label in tinywiki.LABELS},
        "floor": round(end.floor, 4),
        "forgetful": round(end.forgetful_nats / end.tokens, 4),
        "choice_floor": round(end.by_label["choice"]["floor_nats"] / end.by_label["choice"]["tokens"], 4),
    }


def loss_curve(numbers: Mapping[str, Any]) -> Figure:
    """The quickstart's loss on its way from the uniform guess to the floor."""
    figure, axes = card(430)
    title = f"{len(numbers['training'])} iterations, from a uniform guess to the floor"
    heading(axes, title, "nats per token, on a logarithmic scale; no model can do better than the floor")
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
    for place, (label, words) in enumerate(ends.items()):
        note(plot, end + 24, 0, f"{label}: {words}", KIND_COLOURS[label], lift=40 - 20 * place)
    plot.set(ylim=(0, 2.6), xlim=(-10, end + 10), xlabel="iteration")
    return figure


def note(axes: Axes, x: float, y: float, text: str, colour: str, lift: float = 0) -> None:
    """Words beside a line, to the right of the plot."""
    axes.annotate(text, (x, y), (0, lift), textcoords="offset points", color=colour, va="center", annotation_clip=False)


def draw_all(folder: Path) -> list[Path]:
    """Draw every picture into a folder; returns their paths."""
    numbers = json.loads(NUMBERS.read_text())
    with matplotlib.rc_context(STYLE):
        figures = {
            "architecture.png": architecture(get_preset("wikitext103").model),
            "quickstart.png": loss_curve(numbers),
            "kinds.png": kinds(numbers),
        }
        for name, figure in figures.items():
            # Sixty-four colours are enough for flat drawings, and make the files a third as large.
            buffer = io.BytesIO()
            figure.savefig(buffer, dpi=DPI, transparent=False, facecolor="white")
            picture = Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE)
            picture.save(folder / name, optimize=True)
    return [folder / name for name in figures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("quickstart").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "quickstart":
        NUMBERS.write_text(json.dumps(read_run(arguments.folder)) + "\n")
    for path in draw_all(FOLDER):
        print(path)


if __name__ == "__main__":
    main()
