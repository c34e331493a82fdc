"""The whole course as one path from a text to a model that writes."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from style import ATTENTION, EMBEDDING, FEEDFORWARD, INK, PLAIN, arrow, box, card, heading

from tinyllm.plots import BLUE, GREY

ROAD = 338  # height of the path on the card
BOXES = {  # left, bottom, width, height; the book lays a link over each, so inner boxes come after outer ones
    "00_start_here": (28, 478, 744, 44),
    "01_tokenization": (28, ROAD - 48, 130, 96),
    "02_data": (198, ROAD - 48, 130, 96),
    "A1_pytorch_primer": (28, 206, 166, 72),
    "A2_backpropagation": (210, 206, 166, 72),
    "05_gpt": (392, 208, 204, 252),
    "04_transformer_block": (402, 218, 184, 174),
    "03_attention": (412, 228, 164, 96),
    "06_training": (652, 364, 120, 96),
    "07_sampling": (652, 252, 120, 96),
    "08_wikitext103": (28, 144, 744, 44),
    "09_modern_recipe": (28, 78, 364, 28),
    "10_inside_the_model": (408, 78, 364, 28),
    "11_bug_clinic": (28, 44, 364, 28),
    "12_scaling": (408, 44, 364, 28),
    "13_finetuning": (28, 10, 364, 28),
    "14_reinforcement": (408, 10, 364, 28),
}


def course_map() -> Figure:
    """Each chapter is a box that says what it is about; the arrows carry what one passes to the next."""
    figure, axes = card(600)
    heading(axes, "The course: from a text to a model that writes", "each box is a notebook, and says what it is about")

    banner(axes, "00_start_here", "00  Start here", "train a small model first, and see where the path ends")
    banner(axes, "08_wikitext103", "08  WikiText-103", "the full run in one cell: the same pieces at full size")

    carry(axes, (93, ROAD + 84), (93, ROAD + 48), "text", (93, ROAD + 90))
    chapter(axes, "01_tokenization", "01  Tokenization", "characters,\nwords,\nbyte pairs", EMBEDDING)
    carry(axes, (158, ROAD), (198, ROAD), "ids", (178, ROAD + 8))
    chapter(axes, "02_data", "02  Data", "stream, blocks,\nthe smallest\nmodel", EMBEDDING)
    carry(axes, (328, ROAD), (392, ROAD), "batches", (360, ROAD + 8))
    chapter(axes, "A1_pytorch_primer", "A1  PyTorch primer", "optional: shapes,\nbroadcasting, autograd", "white")
    chapter(axes, "A2_backpropagation", "A2  Backpropagation", "optional: gradients\nby hand", "white")

    # A block is inside GPT, and attention inside the block.
    chapter(axes, "05_gpt", "05  GPT", "embeddings, positions,\nlayers, the head", PLAIN)
    chapter(
        axes, "04_transformer_block", "04  Transformer block", "LayerNorm, residual\nstream, feed-forward", FEEDFORWARD
    )
    chapter(axes, "03_attention", "03  Attention", "averages, scores,\nmask, softmax,\nheads", ATTENTION)

    carry(axes, (596, 426), (652, 426), "logits", (624, 434))
    carry(axes, (652, 396), (596, 396), "weights", (624, 378))
    chapter(axes, "06_training", "06  Training", "AdamW,\nschedule,\ncheckpoints", EMBEDDING)
    carry(axes, (596, 300), (652, 300), "logits", (624, 308))
    chapter(axes, "07_sampling", "07  Sampling", "temperature,\ntop-k, top-p,\nKV cache", EMBEDDING)
    carry(axes, (712, 252), (712, 224), "new text", (712, 206))

    axes.text(28, 118, "and beyond it:", color=GREY)
    banner(axes, "09_modern_recipe", "09  Modern recipe", "what changed since GPT-2")
    banner(axes, "10_inside_the_model", "10  Inside the model", "heads, and where a fact sits")
    banner(axes, "11_bug_clinic", "11  The bug clinic", "twelve broken trainings to heal")
    banner(axes, "12_scaling", "12  Scaling", "cost and loss, predicted")
    banner(axes, "13_finetuning", "13  Fine-tuning", "from a writer to one that answers")
    banner(axes, "14_reinforcement", "14  Reinforcement", "rewards, with the optimum known")
    return figure


def banner(axes: Axes, name: str, title: str, text: str) -> None:
    """A chapter in one line: its title, and what it is for."""
    left, bottom, width, height = BOXES[name]
    box(axes, left, bottom, width, height)
    size = {} if width > 400 else {"fontsize": 11}
    axes.text(left + 14, bottom + height / 2, title, weight="bold", va="center")
    axes.text(left + width - 14, bottom + height / 2, text, color=INK, ha="right", va="center", **size)


def chapter(axes: Axes, name: str, title: str, text: str, colour: str) -> None:
    left, bottom, width, height = BOXES[name]
    box(axes, left, bottom, width, height, colour=colour)
    axes.text(left + 10, bottom + height - 21, title, weight="bold")
    for row, line in enumerate(text.splitlines()):
        axes.text(left + 10, bottom + height - 40 - 16 * row, line, fontsize=11, color=GREY)


def carry(axes: Axes, start: tuple[float, float], end: tuple[float, float], what: str, at: tuple[float, float]) -> None:
    """An arrow with the name of what it carries."""
    arrow(axes, start, end, BLUE, 1.8)
    axes.text(*at, what, color=BLUE, ha="center")
