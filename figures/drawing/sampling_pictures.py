"""How the model writes: 07 Sampling."""

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from style import ATTENTION, EMBEDDING, LINE, card, cell, heading, tint
from torch import Tensor

from tinyllm import GPT, GenerationConfig, ModelConfig, generate
from tinyllm.generation import filter_logits
from tinyllm.plots import BLUE, GREEN, GREY, ORANGE
from tinyllm.text.tinywiki_grammar import FIELDS

# What temperature, top-k and top-p do to one distribution


def sampling_cuts(top_k: int = 5, top_p: float = 0.8) -> Figure:
    """The town of a TinyWiki article at three temperatures, likeliest first, with the two cuts."""
    towns = FIELDS["town"]
    logits = torch.tensor([towns.probabilities()]).log()
    figure, axes = card(470)
    heading(
        axes,
        "Temperature bends the bars; top-k and top-p cut them off",
        "the town that comes after “was a diver from” in TinyWiki, likeliest first",
    )
    top, pitch, width = 356, 20, 190
    for row, town in enumerate(towns.options):
        axes.text(134, top - pitch * (row + 1) + 5, town, fontsize=11, ha="right")
    for left, temperature in ((142, 0.5), (362, 1.0), (582, 2.0)):
        probabilities = filter_logits(logits, GenerationConfig(temperature=temperature)).softmax(-1)[0].tolist()
        unchanged = ": unchanged" if temperature == 1 else ""
        axes.text(left, top + 16, f"temperature {temperature:g}{unchanged}", weight="bold")
        for row, probability in enumerate(probabilities):
            bottom, length = top - pitch * (row + 1) + 2, probability * width / 0.8
            axes.add_patch(Rectangle((left, bottom), length, pitch - 4, facecolor=tint(BLUE, 0.55)))
            axes.text(left + length + 5, bottom + 3, f"{probability:.2f}", fontsize=11, color=GREY)
        axes.plot([left, left], [top, top - pitch * len(probabilities)], color=LINE, linewidth=1)
        for name, value, colour in (("top_k", top_k, ORANGE), ("top_p", top_p, GREEN)):
            last = kept(logits, GenerationConfig(temperature=temperature, **{name: value}))
            y = top - pitch * last
            axes.plot([left, left + width], [y, y], "--", color=colour, linewidth=1.6)
            text = f"{name.replace('_', '-')} {value:g}" + (f" keeps {last}" if name == "top_p" else "")
            axes.text(left + width, y - 14, text, fontsize=11, color=colour, ha="right")
    return figure


def kept(logits: Tensor, config: GenerationConfig) -> int:
    """How many tokens may still be drawn."""
    return int(filter_logits(logits, config).isfinite().sum())


# What a cache of keys and values saves

PROMPT = ("Ada", "was", "born")
WRITTEN = ("in", "Tarn", ".")  # what the model answers, one token a step


def rows_computed(prompt: int, steps: int, cached: bool) -> list[int]:
    """The number of tokens for which a real model computes keys and values, at each step."""
    config = ModelConfig(
        vocab_size=7, context_length=prompt + steps, embedding_dim=4, num_layers=1, num_heads=1, feedforward_dim=4
    )
    model = GPT(config).eval()
    rows: list[int] = []
    model.blocks[0].attention.qkv.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[1]))
    if cached:
        list(generate(model, torch.zeros(1, prompt, dtype=torch.long), GenerationConfig(steps, stop_tokens=())))
    else:
        for step in range(steps):
            model(torch.zeros(1, prompt + step, dtype=torch.long))
    return rows


def kv_cache() -> Figure:
    """Which keys and values are computed at each step, without and with a cache."""
    figure, axes = card(404)
    heading(
        axes,
        "A cache keeps what does not change: the keys and values of earlier tokens",
        "each cell is one token's key and value; each step writes one more token",
    )
    tokens, steps = PROMPT + WRITTEN, len(WRITTEN) + 1
    for left, cached in ((92, False), (448, True)):
        rows = rows_computed(len(PROMPT), steps, cached)
        axes.text(left, 302, "with a cache" if cached else "without a cache", weight="bold")
        for step, computed in enumerate(rows):
            length = len(PROMPT) + step
            for position, token in enumerate(tokens[:length]):
                new = position >= length - computed
                cell(axes, left + 54 * position, 250 - 48 * step, 54, 32, token, EMBEDDING if new else ATTENTION)
        axes.text(left, 72, f"{' + '.join(map(str, rows))} = {sum(rows)} computed", color=ORANGE)
    for step in range(steps):
        axes.text(28, 262 - 48 * step, f"step {step}")
    for left, colour, text in ((92, EMBEDDING, "computed in this step"), (290, ATTENTION, "kept in the cache")):
        cell(axes, left, 28, 18, 18, colour=colour)
        axes.text(left + 26, 33, text, fontsize=11)
    return figure
