"""The reference model with its shapes and its parameters."""

from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from style import ATTENTION, EMBEDDING, FEEDFORWARD, arrow, box, card, heading

from tinyllm import GPT, ModelConfig
from tinyllm.estimation import count_parameters
from tinyllm.plots import BLUE, GREY, ORANGE

STREAM = 218  # height of the residual stream on the card


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


def millions(count: int) -> str:
    return f"{count / 1e6:.2f}M" if count < 10e6 else f"{count / 1e6:.1f}M"


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

    # The blocks, a stack of cards, and the stream that runs straight through them.
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

    # Out: vectors become a prediction of each next token.
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


def plus(axes: Axes, x: float) -> None:
    """Where something is added to the stream."""
    axes.plot(x, STREAM, "o", markersize=17, color="white", markeredgecolor=BLUE, markeredgewidth=1.8)
    axes.plot(x, STREAM, "+", markersize=9, color=BLUE, markeredgewidth=1.8)


def branch(axes: Axes, left: float, text: str, note: str, colour: str) -> None:
    """One sub-layer: it reads the stream, works on a normalised copy, and adds its output."""
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

    def part(start: float, count: int, colour: str) -> float:
        axes.add_patch(Rectangle((start, bottom), count * scale, height, facecolor=colour, edgecolor="none"))
        return start + count * scale

    def share(name: str, count: int) -> str:
        return f"{name}  {millions(count)}  ({count / sizes['total']:.1%})"

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
