"""What is learned of a dialogue, and a few weights beside many: 13 Fine-tuning."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from style import ATTENTION, EMBEDDING, FEEDFORWARD, INK, LINE, PALE, PLAIN, arrow, box, card, cell, heading, tint

from tinyllm.config import IGNORED
from tinyllm.plots import BLUE, GREEN, GREY, ORANGE
from tinyllm.text.dialogues import ROLES, Dialogue
from tinyllm.text.turns import Turns

# Which targets count

DIALOGUE = Dialogue([{"role": "user", "content": " Who sings ?"}, {"role": "assistant", "content": " My aunt"}])
TURNS = Turns(document=0, system=1, user=2, assistant=3)
LEFT, WORD = 104, 83.5  # where the rows begin, and the width of a token


def targets_of(dialogue: Dialogue = DIALOGUE) -> tuple[list[str], list[int], list[bool]]:
    """The tokens of a dialogue from one end of text to the next, a word each; their ids; which are learned."""
    marks = ("<|endoftext|>", *ROLES.values())
    text = f"{marks[0]} {dialogue} {marks[0]}"
    for mark in marks[1:]:
        text = text.replace(mark, f" {mark} ")
    tokens = text.split()
    known = [*marks, *dict.fromkeys(token for token in tokens if token not in marks)]
    ids = [known.index(token) for token in tokens]
    return tokens, ids, TURNS.learned(np.array(ids)).tolist()


def loss_mask() -> Figure:
    """One dialogue as inputs, below each its target, and which targets the loss counts."""
    tokens, ids, learned = targets_of()
    length = len(tokens) - 1
    first = learned.index(True, 1) - 1  # the first position with a target that counts
    figure, axes = card(400)
    heading(
        axes,
        "Of a dialogue, only the answer and its end are learned",
        f"each target is the next token; in grey its id, or {IGNORED} where the loss skips it".replace("-", "−"),
    )
    for row, name, what, colour in ((222, "sees", "inputs", BLUE), (122, "predicts", "targets", GREEN)):
        axes.text(28, row + 24, name, weight="bold", color=colour)
        axes.text(28, row + 8, what, color=GREY)
    messages = [index for index, token in enumerate(tokens[:length]) if token in ROLES.values()]
    for start, end in zip(messages, [*messages[1:], length], strict=True):
        role = tokens[start].strip("<|>")
        brace(axes, LEFT + WORD * start, LEFT + WORD * end, 282, f"the {role}'s message", ORANGE)
    for position in range(length):
        x, counts = LEFT + WORD * position, learned[position + 1]
        token(axes, x, 222, tokens[position], ids[position], ATTENTION)
        arrow(axes, (x + 28, 222), (x + 28, 170), GREEN if counts else LINE, 1.8 if counts else 1.0)
        target = ids[position + 1] if counts else IGNORED
        token(axes, x, 122, tokens[position + 1], target, FEEDFORWARD if counts else PLAIN, INK if counts else GREY)
        if position + 1 < length:
            axes.plot([x + 48, x + 110], [170, 221], "--", color=PALE, linewidth=1)
    count = length - first
    cut = LEFT + WORD * first
    brace(axes, LEFT, cut, 108, "ignored: the question, and the marks of both roles", GREY, below=True)
    brace(axes, cut, LEFT + WORD * length, 108, "learned: the answer, and what ends it", GREEN, below=True)
    line = f"The loss is the mean over these {count} targets, not over all {length}."
    axes.text(28, 34, f"{line} The last one teaches the model to stop.")
    return figure


def token(axes: Axes, left: float, bottom: float, text: str, number: int, colour: str, ink: str = INK) -> None:
    """A token, and below it a number."""
    cell(axes, left, bottom, WORD, 46, colour=colour)
    axes.text(left + WORD / 2, bottom + 27, text, fontsize=11, color=ink, ha="center")
    axes.text(left + WORD / 2, bottom + 9, f"{number}".replace("-", "−"), fontsize=11, color=GREY, ha="center")


def brace(axes: Axes, left: float, right: float, y: float, text: str, colour: str, below: bool = False) -> None:
    """A bracket over, or below, some tokens, with what they are."""
    tip = -6 if below else 6
    axes.plot([left + 3, left + 3, right - 3, right - 3], [y, y + tip, y + tip, y], color=colour, linewidth=1.4)
    axes.text((left + right) / 2, y + (-24 if below else 14), text, fontsize=11, color=colour, ha="center")


# Two thin matrices beside a square one

SIZE, RANK = 12, 2  # numbers in and out, and between
STEP = 10  # the side of a cell
SIDE, NARROW = STEP * SIZE, STEP * RANK
MIDDLE, UPPER, LOWER = 346, 424, 268  # heights of what goes in and out, and of the two ways between


def lora(size: int = 512, rank: int = 8) -> Figure:
    """The two ways of x, and the one matrix that they become. The text counts weights of a real size."""
    figure, axes = card(570)
    heading(
        axes,
        "LoRA: the large matrix stays, two thin ones beside it learn",
        f"drawn for {SIZE} numbers in and out, r = {RANK}; the counts are for {size} in and out, r = {rank}",
    )
    inputs(axes)
    large_way(axes, size * size)
    thin_way(axes, 2 * size * rank)
    outputs(axes)
    axes.plot([28, 772], [172, 172], color=PALE, linewidth=1)
    merged(axes)
    return figure


def inputs(axes: Axes) -> None:
    """x, which goes both ways."""
    grid(axes, 60, MIDDLE - SIDE / 2, SIZE, 1, STEP, ATTENTION)
    axes.text(65, MIDDLE + SIDE / 2 + 10, "x", weight="bold", ha="center")
    axes.text(65, MIDDLE - SIDE / 2 - 18, "(in)", color=GREY, ha="center")
    for y, end in ((UPPER, 246), (LOWER, 166)):
        axes.plot([74, 116, 116], [MIDDLE, MIDDLE, y], color=INK, linewidth=1.3)
        arrow(axes, (115.4, y), (end, y))


def large_way(axes: Axes, weights: int) -> None:
    """Through the frozen matrix."""
    grid(axes, 250, UPPER - SIDE / 2, SIZE, SIZE, STEP, PLAIN)
    axes.text(384, UPPER + 12, "W  (out, in)", weight="bold")
    axes.text(384, UPPER - 22, f"frozen: {weights:,} weights", color=GREY)


def thin_way(axes: Axes, weights: int) -> None:
    """Through A to few numbers, and from there through B."""
    grid(axes, 170, LOWER - NARROW / 2, RANK, SIZE, STEP, EMBEDDING)
    axes.text(170 + SIDE / 2, LOWER + 20, "A  (r, in)", color=ORANGE, weight="bold", ha="center")
    arrow(axes, (170 + SIDE + 4, LOWER), (330, LOWER))
    grid(axes, 334, LOWER - NARROW / 2, RANK, 1, STEP, ATTENTION)
    axes.text(339, LOWER - NARROW / 2 - 18, "(r)", color=GREY, ha="center")
    arrow(axes, (348, LOWER), (384, LOWER))
    grid(axes, 388, LOWER - SIDE / 2, SIZE, RANK, STEP, EMBEDDING)
    axes.text(418, LOWER + 30, "B  (out, r)", color=ORANGE, weight="bold")
    axes.text(418, LOWER - 44, f"A and B learn: {weights:,} weights", color=ORANGE)
    arrow(axes, (412, LOWER), (454, LOWER))
    box(axes, 458, LOWER - 15, 64, 30, "× α / r")


def outputs(axes: Axes) -> None:
    """Both ways meet in a sum."""
    for y, start, edge in ((UPPER, 250 + SIDE + 4, 12), (LOWER, 522, -12)):
        axes.plot([start, 586, 586], [y, y, MIDDLE + 2 * edge], color=INK, linewidth=1.3)
        arrow(axes, (586, y), (586, MIDDLE + edge))
    axes.plot(586, MIDDLE, "o", markersize=20, color="white", markeredgecolor=BLUE, markeredgewidth=1.8, zorder=4)
    axes.plot(586, MIDDLE, "+", markersize=11, color=BLUE, markeredgewidth=1.8, zorder=5)
    arrow(axes, (598, MIDDLE), (634, MIDDLE))
    grid(axes, 638, MIDDLE - SIDE / 2, SIZE, 1, STEP, FEEDFORWARD)
    axes.text(643, MIDDLE - SIDE / 2 - 18, "(out)", color=GREY, ha="center")
    axes.text(658, MIDDLE + 6, "W x +", weight="bold")
    axes.text(658, MIDDLE - 12, "α / r · B A x", weight="bold")


def merged(axes: Axes) -> None:
    """The sum of matrices that is left after training."""
    step, y = 8, 92
    half = SIZE * step / 2
    axes.text(28, y + 24, "merged", weight="bold")
    for row, line in enumerate(("after training,", "one matrix that", "does the same")):
        axes.text(28, y + 6 - 17 * row, line, color=GREY)
    grid(axes, 190, y - half, SIZE, SIZE, step, PLAIN)
    grid(axes, 408, y - half, SIZE, RANK, step, EMBEDDING)
    grid(axes, 444, y - step, RANK, SIZE, step, EMBEDDING)
    grid(axes, 592, y - half, SIZE, SIZE, step, tint(ORANGE, 0.1))
    for x, text in ((238, "W"), (416, "B"), (492, "A"), (640, "W′")):
        axes.text(x, y + half + 8 if text != "A" else y + step + 8, text, weight="bold", ha="center")
    for x, text in ((308, "+"), (362, "α / r  ·"), (566, "=")):
        axes.text(x, y - 5, text, fontsize=14, ha="center")
    axes.text(698, y - 4, "(out, in)", color=GREY)


def grid(axes: Axes, left: float, bottom: float, rows: int, columns: int, step: float, colour: str) -> None:
    """A matrix of so many cells."""
    for row in range(rows):
        for column in range(columns):
            corner = (left + step * column, bottom + step * row)
            axes.add_patch(Rectangle(corner, step, step, facecolor=colour, edgecolor=LINE, linewidth=0.5, zorder=2))
