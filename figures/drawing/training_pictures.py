"""How the model learns, and in which number formats: 06 Training and 08 WikiText-103."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from style import ATTENTION, EMBEDDING, FEEDFORWARD, INK, LINE, arrow, box, card, cell, heading, note, panel
from torch import Tensor, nn

from tinyllm import TrainingConfig
from tinyllm.plots import BLUE, GREEN, GREY, ORANGE
from tinyllm.training.schedule import learning_rate

# One step of the optimizer


@dataclass(frozen=True)
class Step:
    """The tensors of one step of a model with two weights: shape (2), but `gradients` (micro-batches, 2)."""

    gradients: Tensor
    mean: Tensor
    clipped: Tensor
    first: Tensor
    second: Tensor
    before: Tensor
    after: Tensor


def take_step(config: TrainingConfig, rate: float) -> Step:
    """The third step of PyTorch's AdamW on gradients from a seeded generator."""
    generator = torch.Generator().manual_seed(1)
    weights = nn.Parameter(torch.tensor([0.5, -0.3]))
    optimizer = torch.optim.AdamW([weights], lr=rate, betas=config.betas, weight_decay=config.weight_decay)
    for _ in range(3):
        gradients = torch.randn(config.gradient_accumulation_steps, 2, generator=generator) * 1.5 + 1
        gradients = gradients.round(decimals=1)
        before = weights.detach().clone()
        weights.grad = gradients.mean(0)
        mean = weights.grad.clone()
        nn.utils.clip_grad_norm_([weights], config.max_gradient_norm)
        optimizer.step()
    state = optimizer.state[weights]
    return Step(gradients, mean, weights.grad, state["exp_avg"], state["exp_avg_sq"], before, weights.detach().clone())


RATE = 0.1  # much more than in training, so that two decimals show the change


def optimizer_step(config: TrainingConfig) -> Figure:
    """From the gradients of some micro-batches to new weights, on a model with two weights."""
    step = take_step(config, RATE)
    count = len(step.gradients)
    figure, axes = card(430)
    heading(
        axes,
        f"One training step: {count} micro-batches, one change of the weights",
        f"a model of 2 weights, at a learning rate of {RATE} to make the change visible",
    )
    middle = 200
    for index, gradient in enumerate(step.gradients):
        y = middle + 54 * ((count - 1) / 2 - index)
        box(axes, 28, y - 18, 92, 36, f"micro-batch {index}")
        arrow(axes, (122, y), (138, y), LINE)
        pair(axes, 140, y, gradient, "white")
        arrow(axes, (194, y), (236, middle + (y - middle) / 6), LINE)
    pair(axes, 240, middle, step.mean, EMBEDDING)
    arrow(axes, (294, middle), (340, middle))
    pair(axes, 344, middle, step.clipped, EMBEDDING)
    arrow(axes, (398, middle), (436, middle))
    box(axes, 438, middle - 102, 166, 204, colour=ATTENTION)
    for y, name, values, beta in (
        (middle + 54, "of gradients", step.first, config.betas[0]),
        (middle - 32, "of their squares", step.second, config.betas[1]),
    ):
        axes.text(450, y + 28, f"mean {name}", fontsize=11)
        pair(axes, 450, y, values, "white")
        axes.text(510, y + 7, f"{beta:g} × old", fontsize=11, color=GREY)
        axes.text(510, y - 15, f"+ {1 - beta:.2g} × new", fontsize=11, color=GREY)
    axes.text(521, middle - 76, "step, after correction:", fontsize=11, ha="center")
    axes.text(521, middle - 94, f"{RATE} × mean / √squares", fontsize=11, ha="center")
    arrow(axes, (606, middle), (640, middle))
    pair(axes, 644, middle, step.before, "white")
    arrow(axes, (698, middle), (718, middle))
    pair(axes, 720, middle, step.after, FEEDFORWARD)

    for x, name, line in (
        (166, "gradients", "of each"),
        (266, f"sum / {count}", f"norm {step.mean.norm():.2f}"),
        (370, "clip", f"norm {step.clipped.norm():.2f}"),
        (521, "AdamW", "two running means"),
        (708, "weights", "before → after"),
    ):
        axes.text(x, 336, name, weight="bold", ha="center")
        axes.text(x, 320, line, fontsize=11, color=GREY, ha="center")
    axes.plot([746, 746, 74, 74], [middle - 30, 50, 50, middle - 110], color=BLUE, linewidth=1.8)
    arrow(axes, (74, middle - 120), (74, middle - 102), BLUE, 1.8)
    again = axes.text(410, 46, "the next step: new micro-batches, gradients from zero", color=BLUE, ha="center")
    again.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 4})
    return figure


def pair(axes: Axes, left: float, middle: float, values: Tensor, colour: str) -> None:
    """One number for each of the two weights."""
    for index, value in enumerate(values.tolist()):
        cell(axes, left, middle - 22 * index, 52, 22, f"{value:.2f}".replace("-", "−"), colour)


# The learning rate


def schedule(config: TrainingConfig) -> Figure:
    """The learning rate of every step: up a straight line, then down half a cosine."""
    figure, axes = card(400)
    heading(
        axes,
        "The learning rate: a short warm-up, then half a cosine",
        f"the wikitext103 preset, {config.max_iterations:,} steps",
    )
    plot = panel(axes, 78, 52, 520, 262)
    end = config.max_iterations
    steps = range(0, end + 1, end // 1000)
    plot.plot(steps, [learning_rate(step, config) for step in steps], color=BLUE, linewidth=2.5)
    plot.set(xlim=(-0.01 * end, 1.01 * end), ylim=(0, 1.12 * config.max_learning_rate), xlabel="step")
    plot.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    plot.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    plot.axvspan(0, config.warmup, color=EMBEDDING, zorder=0)
    peak, least = config.max_learning_rate, learning_rate(end, config)
    plot.plot(config.warmup, learning_rate(config.warmup, config), "o", markersize=9, color=ORANGE)
    plot.plot(end, least, "o", markersize=9, color=GREEN)
    plot.text(config.warmup + 0.02 * end, 1.04 * peak, f"warm-up ends at step {config.warmup:,}", color=ORANGE)
    plot.text(0.53 * end, learning_rate(end // 2, config), "half a cosine", color=BLUE)
    note(plot, 1.04 * end, peak, f"maximum  {decimal(peak)}", ORANGE)
    note(plot, 1.04 * end, least, f"minimum  {decimal(least)}", GREEN)
    return figure


def decimal(value: float) -> str:
    """Two digits and no power of ten, so that a reader sees how small the number is."""
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


# Number formats

FORMATS = (torch.float32, torch.bfloat16, torch.float16)


def parts(dtype: torch.dtype) -> tuple[int, int]:
    """The exponent bits and the fraction bits of a format; one more bit is the sign."""
    info = torch.finfo(dtype)
    fraction = -int(torch.tensor(info.eps).log2().item())
    return info.bits - 1 - fraction, fraction


def bits(value: float, dtype: torch.dtype) -> str:
    """The bits of a number as the format stores it."""
    stored = torch.tensor(value, dtype=dtype)
    width = torch.finfo(dtype).bits
    whole = stored.view(torch.int32 if width == 32 else torch.int16).item()
    return format(whole % (1 << width), f"0{width}b")


def precision(value: float = 0.1, large: float = 70_000.0) -> Figure:
    """The bits of three formats, aligned at the sign, and what becomes of two numbers in them."""
    figure, axes = card(428)
    heading(
        axes,
        "bfloat16 keeps float32's range, float16 keeps finer steps",
        f"the bits with which each format stores {value:g}; more exponent is more range, more fraction finer steps",
    )
    for row, dtype in enumerate(FORMATS):
        y, info = 284 - 114 * row, torch.finfo(dtype)
        exponent, fraction = parts(dtype)
        axes.text(28, y + 16, str(dtype).removeprefix("torch."), weight="bold")
        axes.text(28, y, f"{info.bits} bits", fontsize=11, color=GREY)
        left = 112
        for name, length, colour in (
            ("sign", 1, EMBEDDING),
            ("exponent", exponent, FEEDFORWARD),
            ("fraction", fraction, ATTENTION),
        ):
            start = (left - 112) // 15
            for index, bit in enumerate(bits(value, dtype)[start : start + length]):
                cell(axes, left + 15 * index, y, 15, 26, bit, colour)
            title = name if length == 1 else f"{length} {name}"
            axes.text(
                left + 7.5 * length, y + 34, title, fontsize=11, color=GREY, ha="right" if length == 1 else "center"
            )
            left += 15 * length
        small, big = (torch.tensor(number, dtype=dtype).item() for number in (value, large))
        axes.text(112, y - 22, f"{value:g} is stored as {small:.9g}")
        axes.text(352, y - 22, f"{large:,.0f} as {big:,.0f}", color=INK if math.isfinite(big) else ORANGE)
        largest = f"{info.max:,.0f}" if info.max < 1e6 else f"{info.max:.1e}"
        ends = {"largest": largest, "smallest normal": f"{info.tiny:.1e}", "step at 1": f"{info.eps:.2g}"}
        for line, (name, text) in enumerate(ends.items()):
            axes.text(606, y + 26 - 20 * line, name, fontsize=11, color=GREY)
            axes.text(708, y + 26 - 20 * line, text)
    return figure
