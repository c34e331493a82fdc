"""How a token attends to earlier ones: 03 Attention."""

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from style import ATTENTION, EMBEDDING, FEEDFORWARD, INK, LINE, PLAIN, arrow, card, cell, heading, tint
from torch import Tensor

from tinyllm.plots import BLUE, GREEN, GREY, ORANGE

TOKENS = ("Ada", "was", "born", "in", "Tarn", ".")
ROW = 3  # the token that looks back, counted from 0


# One row, from scores to weights to mix


def attend(q: Tensor, k: Tensor, v: Tensor, row: int) -> dict[str, Tensor]:
    """Each step of one token's attention; q, k and v are (T, D), scores and weights (T), the mix (D)."""
    scores = k @ q[row] / math.sqrt(q.shape[1])
    masked = scores.masked_fill(torch.arange(len(k)) > row, -torch.inf)
    weights = masked.softmax(0)
    return {"query": q[row], "scores": scores, "masked": masked, "weights": weights, "mix": weights @ v}


def example() -> tuple[Tensor, Tensor, Tensor]:
    """The queries, keys and values of 03 Attention, each (6, 3): how much of a name, an event, a link word."""
    x = torch.tensor([[2, 0, 0], [0, 1, 1], [0, 2, 0], [0, 0, 2], [1, 0, 0], [0, 0, 1]]).float()
    looks_for = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 1, 0]]).float()  # a name for a link, an event for a name ...
    return x @ looks_for, x, x * torch.tensor([1.0, 1.0, 0.0])


def attention_row() -> Figure:
    """One token's query against all keys, down to the mix of values that it receives."""
    q, k, v = example()
    steps = attend(q, k, v, ROW)
    figure, axes = card(530)
    heading(
        axes,
        f"One row of attention: what “{TOKENS[ROW]}” takes from the tokens up to itself",
        f"token {ROW}, counted from 0; read from top to bottom; {q.shape[1]} numbers a vector",
    )
    rows = (
        (396, "keys", "one of each token"),
        (325, "scores", f"query · key / √{q.shape[1]}"),
        (273, "mask", "later tokens: −∞"),
        (186, "weights", "softmax: sum 1"),
        (64, "values", "× weight, added up"),
    )
    for y, name, line in rows:
        axes.text(28, y + 15, name, weight="bold")
        axes.text(28, y - 1, line, fontsize=11, color=GREY)

    weights = steps["weights"].tolist()
    for position, token in enumerate(TOKENS):
        left, middle = 172 + 74 * position, 172 + 74 * position + 32
        colour = BLUE if position == ROW else GREY if position > ROW else INK
        later = PLAIN if position > ROW else "white"
        axes.text(middle, 440, token, color=colour, weight="bold", ha="center")
        column(axes, left, 366, k[position], "white")
        cell(axes, left, 320, 64, 24, number(steps["scores"][position]))
        cell(axes, left, 268, 64, 24, number(steps["masked"][position]), later)
        axes.add_patch(Rectangle((left, 170), 64, 64 * weights[position], facecolor=tint(BLUE, 0.5)))
        axes.plot([left, left + 64], [170, 170], color=LINE, linewidth=1)
        axes.text(middle, 175 + 64 * weights[position], f"{weights[position]:.2f}", fontsize=11, ha="center")
        column(axes, left, 38, v[position], tint(BLUE, 0.7 * weights[position]))
        for start, end in ((365, 345), (319, 293), (267, 249)):
            arrow(axes, (middle, start), (middle, end), LINE)
        axes.text(middle, 125, "×", fontsize=16, color=GREY, ha="center")

    # On the right, what the row begins and ends with.
    axes.text(704, 440, f"query of “{TOKENS[ROW]}”", color=BLUE, ha="center")
    column(axes, 672, 366, steps["query"], ATTENTION)
    axes.plot([704, 704], [364, 332], color=BLUE, linewidth=1.8)
    arrow(axes, (704, 332), (612, 332), BLUE, 1.8)
    axes.text(704, 188, f"sum  {sum(weights):.2f}", ha="center")
    axes.text(704, 114, "the mix", color=GREEN, weight="bold", ha="center")
    axes.text(640, 65, "=", fontsize=16, ha="center")
    column(axes, 672, 38, steps["mix"], FEEDFORWARD, decimals=2)
    return figure


def number(value: Tensor) -> str:
    return "−∞" if value == -torch.inf else f"{value.item():.2f}".replace("-", "−")


def column(axes: Axes, left: float, bottom: float, values: Tensor, colour: str, decimals: int = 1) -> None:
    """The numbers of one vector, the first on top."""
    for row, value in enumerate(reversed((values + 0.0).tolist())):
        cell(axes, left, bottom + 22 * row, 64, 22, f"{value:.{decimals}f}".replace("-", "−"), colour)


# How the width is split into heads and joined again

T, H, D = 4, 3, 2
HEAD_COLOURS = ((BLUE, ATTENTION), (ORANGE, EMBEDDING), (GREEN, FEEDFORWARD))
SIDE = 16  # of a cell
MIDDLE = 222  # the height of what all heads share


def heads() -> Figure:
    """Queries, keys and values (T, C), each cut into (H, T, D); attention head by head; side by side, projected."""
    figure, axes = card(462)
    heading(
        axes,
        "Heads: cut queries, keys and values, look back in each part, join the parts",
        f"T = {T} tokens, C = {H * D} numbers each, H = {H} heads of D = {D}; the tokens themselves are not cut",
    )
    lefts = (28, 154, 274, 412, 498, 552, 676)
    blank = [[""] * H * D] * T
    matrix(axes, lefts[0], MIDDLE, blank, PLAIN)
    for part, name in enumerate(("queries", "keys", "values")):
        centre = MIDDLE + 104 * (1 - part)
        arrow(axes, (lefts[0] + H * D * SIDE + 4, MIDDLE + 12 * (1 - part)), (lefts[1] - 4, centre), LINE)
        axes.text(lefts[1] + H * D * SIDE / 2, centre + 39, name, fontsize=11, ha="center")
        for head in range(H):
            matrix(axes, lefts[1] + head * D * SIDE, centre, part_of_head(part, head), HEAD_COLOURS[head][1])
    arrow(axes, (lefts[1] + H * D * SIDE + 4, MIDDLE), (lefts[2] - 4, MIDDLE), LINE)
    for head in range(H):
        one_head(axes, head, lefts[2:6])
    arrow(axes, (lefts[5] + H * D * SIDE + 4, MIDDLE), (lefts[6] - 4, MIDDLE))
    axes.text((lefts[5] + H * D * SIDE + lefts[6]) / 2, MIDDLE + 42, "projection", fontsize=11, ha="center")
    matrix(axes, lefts[6], MIDDLE, blank, PLAIN)

    captions = (
        (H * D, "tokens", (T, H * D)),
        (H * D, "q, k, v", (T, H * D)),
        (3 * D + 0.75, "each cut", (H, T, D)),
        (T, "weights", (H, T, T)),
        (D, "mixes", (H, T, D)),
        (H * D, "side by side", (T, H * D)),
        (H * D, "out", (T, H * D)),
    )
    for left, (columns, name, shape) in zip(lefts, captions, strict=True):
        axes.text(left + columns * SIDE / 2, 50, name, weight="bold", ha="center")
        axes.text(left + columns * SIDE / 2, 32, shape, color=GREY, ha="center")
    return figure


def part_of_head(part: int, head: int) -> list[list[str]]:
    """What a head gets of the queries (part 0), numbered as they lie in memory; keys and values stay empty."""
    numbers = torch.arange(T * H * D).view(T, H, D).transpose(0, 1)[head]
    return [list(map(str, row)) for row in numbers.tolist()] if part == 0 else [[""] * D] * T


def one_head(axes: Axes, head: int, lefts: Sequence[float]) -> None:
    """A head's parts of q, k and v, its weights and its mix, and where the mix goes."""
    strong, pale = HEAD_COLOURS[head]
    centre = MIDDLE + 104 * (1 - head)
    scores = torch.randn(H, T, T, generator=torch.Generator().manual_seed(0))[head] * 2
    weights = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf).softmax(-1)
    for part, name in enumerate("qkv"):
        left = lefts[0] + part * (D * SIDE + 6)
        matrix(axes, left, centre, part_of_head(part, head), pale)
        axes.text(left + D * SIDE / 2, centre + 39, name, fontsize=11, ha="center")
    arrow(axes, (lefts[0] + 3 * D * SIDE + 16, centre), (lefts[1] - 4, centre), LINE)
    triangle(axes, lefts[1], centre, weights, strong)
    arrow(axes, (lefts[1] + T * SIDE + 2, centre), (lefts[2] - 2, centre), LINE)
    matrix(axes, lefts[2], centre, part_of_head(1, head), pale)
    arrow(axes, (lefts[2] + D * SIDE + 2, centre), (lefts[3] - 2, MIDDLE + 12 * (1 - head)), LINE)
    matrix(axes, lefts[3] + head * D * SIDE, MIDDLE, part_of_head(1, head), pale)
    axes.text(lefts[1] + T * SIDE / 2, centre + 39, f"head {head}", color=strong, ha="center")


def matrix(axes: Axes, left: float, middle: float, rows: Sequence[Sequence[str]], colour: str) -> None:
    """A matrix centred on a height, its first row on top; empty texts show only its shape."""
    for row, texts in enumerate(rows):
        for index, text in enumerate(texts):
            cell(axes, left + SIDE * index, middle + SIDE * (len(rows) / 2 - row - 1), SIDE, SIDE, text, colour)


def triangle(axes: Axes, left: float, middle: float, weights: Tensor, colour: str) -> None:
    """Attention weights, the larger the darker; masked ones are left out."""
    for row, values in enumerate(weights.tolist()):
        for index, value in enumerate(values[: row + 1]):
            shade = (1 + round(2 * value)) / 3  # three shades, for a picture of few colours
            bottom = middle + SIDE * (len(weights) / 2 - row - 1)
            cell(axes, left + SIDE * index, bottom, SIDE, SIDE, colour=tint(colour, 0.9 * shade))
