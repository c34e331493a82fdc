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
SIDE = 20  # of a cell


def heads() -> Figure:
    """(T, C) split into (H, T, D), attended head by head, joined side by side again and projected."""
    figure, axes = card(462)
    heading(
        axes,
        "Heads: cut the width, look back in each part, put the parts together",
        f"T = {T} tokens, C = {H * D} numbers each, H = {H} heads of D = {D}; queries, keys and values are all cut so",
    )
    numbers = torch.arange(T * H * D)
    whole, split = numbers.view(T, H * D), numbers.view(T, H, D).transpose(0, 1)
    scores = torch.randn(H, T, T, generator=torch.Generator().manual_seed(0)) * 2
    weights = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf).softmax(-1)

    middle, lefts = 222, (28, 186, 258, 370, 448, 652)
    for head, (strong, pale) in enumerate(HEAD_COLOURS):
        centre, shift = middle + 104 * (1 - head), head * D * SIDE
        texts, blank = [list(map(str, row)) for row in split[head].tolist()], [[""] * D] * T
        matrix(axes, lefts[0] + shift, middle, texts, pale)
        arrow(axes, (lefts[0] + H * D * SIDE + 4, middle + 20 * (1 - head)), (lefts[1] - 4, centre), LINE)
        matrix(axes, lefts[1], centre, texts, pale)
        arrow(axes, (lefts[1] + D * SIDE + 4, centre), (lefts[2] - 4, centre), LINE)
        triangle(axes, lefts[2], centre, weights[head], strong)
        arrow(axes, (lefts[2] + T * SIDE + 4, centre), (lefts[3] - 4, centre), LINE)
        matrix(axes, lefts[3], centre, blank, pale)
        arrow(axes, (lefts[3] + D * SIDE + 4, centre), (lefts[4] - 4, middle + 20 * (1 - head)), LINE)
        matrix(axes, lefts[4] + shift, middle, blank, pale)
        axes.text(lefts[2] + 44, centre + 22, f"head {head}", color=strong)
    arrow(axes, (lefts[4] + H * D * SIDE + 4, middle), (lefts[5] - 4, middle))
    axes.text(610, middle + 10, "projection", fontsize=11, ha="center")
    matrix(axes, lefts[5], middle, [[""] * H * D] * T, PLAIN)

    captions = (
        (H * D, "tokens", whole.shape),
        (D, "cut", split.shape),
        (T, "weights", weights.shape),
        (D, "mixes", split.shape),
        (H * D, "side by side", whole.shape),
        (H * D, "out", whole.shape),
    )
    for left, (columns, name, shape) in zip(lefts, captions, strict=True):
        axes.text(left + columns * SIDE / 2, 50, name, weight="bold", ha="center")
        axes.text(left + columns * SIDE / 2, 32, tuple(shape), color=GREY, ha="center")
    return figure


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
