"""What happens to the vectors inside the model: 04 Transformer block and 05 GPT."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from style import ATTENTION, EMBEDDING, FEEDFORWARD, GREY, INK, LINE, arrow, box, card, cell, heading, tint

from tinyllm.plots import BLUE, GREEN, ORANGE

TOKENS = ("Ada", "was", "born", "in")
LANE = 74  # from one token's stream to the next


# One block along the residual stream


def residual_stream() -> Figure:
    """A lane for each token: attention crosses the lanes, the feed-forward network does not."""
    figure, axes = card(456)
    heading(
        axes,
        "One block: two sub-layers read the residual stream and add to it",
        "each lane is one token's vector on its way through the block; a + adds to it",
    )
    lanes = [318 - LANE * position for position in range(len(TOKENS))]
    for position, (token, y) in enumerate(zip(TOKENS, lanes, strict=True)):
        axes.text(28, y - 4, token, weight="bold")
        axes.plot([78, 752], [y, y], color=BLUE, linewidth=4, solid_capstyle="butt")
        arrow(axes, (748, y), (772, y), BLUE, 4)
        sublayer(axes, 94, 404, y)
        sublayer(axes, 440, 730, y)
        box(axes, 286, y + 11, 94, 38, "attention", colour=ATTENTION)
        box(axes, 592, y + 11, 112, 38, "feed-forward", colour=FEEDFORWARD)
        axes.plot(212, y + 30, "o", markersize=6, color=ORANGE, zorder=4)
        for steps, later in enumerate(lanes[position:]):
            arrow(axes, (212, y + 30), (285, later + 30 + 5 * steps), ORANGE)
    for x, name in ((94, "read"), (404, "add"), (440, "read"), (730, "add")):
        axes.text(x, lanes[-1] - 24, name, fontsize=11, color=BLUE, ha="center")
    axes.text(249, 48, "attention moves information", color=ORANGE, weight="bold", ha="center")
    axes.text(249, 30, "from a token to itself and to later ones", fontsize=11, ha="center")
    axes.text(585, 48, "feed-forward works on", color=GREEN, weight="bold", ha="center")
    axes.text(585, 30, "each token alone, all with the same weights", fontsize=11, ha="center")
    return figure


def sublayer(axes: Axes, read: float, add: float, y: float) -> None:
    """One token's path off its lane, through a LayerNorm, and back onto the lane."""
    axes.plot([read, read, add, add], [y, y + 30, y + 30, y], color=BLUE, linewidth=1.6, zorder=1)
    axes.plot(read, y, "o", markersize=8, color=BLUE)
    box(axes, read + 16, y + 18, 86, 24, "LayerNorm")
    axes.plot(add, y, "o", markersize=16, color="white", markeredgecolor=BLUE, markeredgewidth=1.8)
    axes.plot(add, y, "+", markersize=9, color=BLUE, markeredgewidth=1.8)


# One matrix, used twice

WORDS = ("Ada", "was", "born", "in", "Tarn", ".")


def tied_example() -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix (V, C) and a hidden vector (C), with one decimal, so that a reader can check every number."""
    numbers = torch.randn(7, 4, generator=torch.Generator().manual_seed(234)).round(decimals=1)
    return numbers[:6], numbers[6]


def tied_head() -> Figure:
    """The embedding looks up a row; the head multiplies the last hidden vector by every row of the same matrix."""
    matrix, hidden = tied_example()
    logits = matrix @ hidden
    probabilities = logits.softmax(0).tolist()
    token = WORDS.index("born")
    figure, axes = card(474)
    heading(
        axes,
        "One (V, C) matrix, used on the way in and on the way out",
        f"V = {len(WORDS)} tokens, C = {matrix.shape[1]} numbers each; positions and norms are left out",
    )
    top, left, right = 342, 250, 250 + 4 * 48
    for x, text in ((left + 96, "the matrix"), (526, "logits"), (630, "probabilities")):
        axes.text(x, top + 36, text, weight="bold", ha="center")
    for row, name in enumerate(WORDS):
        y, picked = top - 28 * row, row == token
        axes.text(left - 24, y + 10, f"{name}   {row}", color=ORANGE if picked else INK, ha="right")
        row_of(axes, left, y, matrix[row], EMBEDDING if picked else "white")
        arrow(axes, (right + 4, y + 14), (494, y + 14), LINE)
        cell(axes, 498, y, 56, 28, minus(logits[row], 2))
        axes.add_patch(Rectangle((586, y + 4), 150 * probabilities[row], 20, facecolor=tint(GREEN, 0.5)))
        axes.text(592 + 150 * probabilities[row], y + 10, f"{probabilities[row]:.2f}", fontsize=11)

    # In: the id names a row, and the row goes to the blocks.
    y = top - 28 * token
    box(axes, 28, y - 3, 80, 34, f"token id {token}")
    arrow(axes, (108, y + 14), (172, y + 14), ORANGE, 1.8)
    axes.text(28, y + 59, "way in:", color=ORANGE, weight="bold")
    axes.text(28, y + 42, "look up a row", color=ORANGE, weight="bold")
    axes.plot([left, left - 12, left - 12, 124, 124], [y + 14, y + 14, 150, 150, 104], color=ORANGE, linewidth=1.8)
    arrow(axes, (124, 110), (124, 94), ORANGE, 1.8)
    row_of(axes, 28, 62, matrix[token], EMBEDDING)
    axes.text(124, 40, f"vector of “{WORDS[token]}”", color=GREY, ha="center")
    arrow(axes, (224, 76), (266, 76))
    box(axes, 270, 56, 70, 40, "blocks")

    # Out: the hidden vector is multiplied by every row.
    arrow(axes, (340, 76), (382, 76))
    row_of(axes, 386, 62, hidden, ATTENTION)
    axes.text(482, 40, "hidden vector", color=GREY, ha="center")
    arrow(axes, (468, 92), (468, 194), BLUE, 1.8)
    axes.text(482, 140, "way out: dot product with every row", color=BLUE, weight="bold")
    return figure


def row_of(axes: Axes, left: float, bottom: float, values: torch.Tensor, colour: str) -> None:
    """A vector as a row."""
    for index, value in enumerate(values):
        cell(axes, left + 48 * index, bottom, 48, 28, minus(value, 1), colour)


def minus(value: torch.Tensor, decimals: int) -> str:
    return f"{value.item() + 0.0:.{decimals}f}".replace("-", "−")
