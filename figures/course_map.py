"""The whole course as one path from a text to a model that writes."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from style import ATTENTION, EMBEDDING, FEEDFORWARD, INK, PLAIN, arrow, box, card, heading

from tinyllm.plots import BLUE, GREY

ROAD = 222  # height of the path on the card


def course_map() -> Figure:
    """Each chapter is a box that names what it builds; the arrows carry what one hands to the next."""
    figure, axes = card(484)
    heading(
        axes, "The course: from a text to a model that writes", "each box is a notebook, and names what you build in it"
    )

    banner(axes, 362, "00  Start here", "train a small model first, and see where the path ends")
    banner(axes, 28, "08  WikiText-103", "the full run in one cell: the same pieces at full size")

    carry(axes, (93, ROAD + 84), (93, ROAD + 48), "text", (93, ROAD + 90))
    chapter(axes, 28, ROAD - 48, 130, 96, "01  Tokenization", "characters,\nwords, byte-\npair encoding", EMBEDDING)
    carry(axes, (158, ROAD), (198, ROAD), "ids", (178, ROAD + 8))
    chapter(axes, 198, ROAD - 48, 130, 96, "02  Data", "stream, blocks,\nthe smallest\nmodel", EMBEDDING)
    carry(axes, (328, ROAD), (392, ROAD), "batches", (360, ROAD + 8))
    chapter(axes, 28, 92, 300, 48, "A1  PyTorch primer", "optional: shapes, broadcasting, autograd", "white")

    # A block is inside GPT, and attention inside the block.
    chapter(axes, 392, 92, 204, 252, "05  GPT", "embeddings, positions,\nlayers, the head", PLAIN)
    chapter(axes, 402, 102, 184, 174, "04  Transformer block", "LayerNorm, residual\nstream, feed-forward", FEEDFORWARD)
    chapter(axes, 412, 112, 164, 96, "03  Attention", "averages, scores,\nmask, softmax,\nheads", ATTENTION)

    carry(axes, (596, 310), (652, 310), "logits", (624, 318))
    carry(axes, (652, 280), (596, 280), "weights", (624, 262))
    chapter(axes, 652, 248, 120, 96, "06  Training", "AdamW,\nschedule,\ncheckpoints", EMBEDDING)
    carry(axes, (596, 184), (652, 184), "logits", (624, 192))
    chapter(axes, 652, 136, 120, 96, "07  Sampling", "temperature,\ntop-k, top-p,\nKV cache", EMBEDDING)
    carry(axes, (712, 136), (712, 108), "new text", (712, 90))
    return figure


def banner(axes: Axes, bottom: float, title: str, text: str) -> None:
    """A chapter that runs the whole path."""
    box(axes, 28, bottom, 744, 44)
    axes.text(42, bottom + 18, title, weight="bold")
    axes.text(758, bottom + 18, text, color=INK, ha="right")


def chapter(
    axes: Axes, left: float, bottom: float, width: float, height: float, title: str, text: str, colour: str
) -> None:
    box(axes, left, bottom, width, height, colour=colour)
    axes.text(left + 10, bottom + height - 21, title, weight="bold")
    for row, line in enumerate(text.splitlines()):
        axes.text(left + 10, bottom + height - 40 - 16 * row, line, fontsize=11, color=GREY)


def carry(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], what: str, place: tuple[float, float]
) -> None:
    """What is handed on."""
    arrow(axes, start, end, BLUE, 1.8)
    axes.text(*place, what, color=BLUE, ha="center")
