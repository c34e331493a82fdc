"""How gradients go back through a computation: A2 Backpropagation."""

from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from style import ATTENTION, EMBEDDING, FEEDFORWARD, INK, LINE, PLAIN, arrow, box, card, heading

from tinyllm.plots import GREY, ORANGE

WIDE, HIGH = 100, 66  # of a number's box


class Node(NamedTuple):
    """A number of the graph: its place, how it is computed, and each input with the slope."""

    left: float
    bottom: float
    formula: str
    value: float
    gradient: float
    slopes: dict[str, float]


PLACES = {
    "x": (28, 254), "w": (28, 106), "y": (196, 284), "p": (196, 180), "e": (358, 180), "s": (520, 180),
    "r": (520, 52), "loss": (672, 116),
}  # fmt: skip


def weight_graph(w: float = 1.5, x: float = 2.0, y: float = 5.0) -> dict[str, Node]:
    """Every number of loss = (w x - y)^2 + w^2, with gradients and slopes by autograd."""
    numbers = {name: torch.tensor(value, requires_grad=True) for name, value in (("x", x), ("w", w), ("y", y))}
    formulas = {"p": "p = w · x", "e": "e = p − y", "s": "s = e²", "r": "r = w²", "loss": "loss = s + r"}
    inputs = {"p": "wx", "e": "py", "s": "e", "r": "w", "loss": "sr"}
    numbers["p"] = numbers["w"] * numbers["x"]
    numbers["e"] = numbers["p"] - numbers["y"]
    numbers["s"], numbers["r"] = numbers["e"] ** 2, numbers["w"] ** 2
    numbers["loss"] = numbers["s"] + numbers["r"]

    def slope(of: str, to: str) -> float:
        return torch.autograd.grad(numbers[of], numbers[to], retain_graph=True)[0].item()

    return {
        name: Node(
            *PLACES[name],
            formulas.get(name, name),
            number.item(),
            slope("loss", name),
            {one: slope(name, one) for one in inputs.get(name, "")},
        )
        for name, number in numbers.items()
    }


def backprop_graph() -> Figure:
    """Values from left to right, gradients from right to left; each arrow multiplies by its slope."""
    figure, axes = card(462)
    heading(
        axes,
        "Values go forward, gradients come back",
        "loss = (w · x − y)² + w²; each arrow carries its slope: how fast what it leads to grows",
    )
    graph = weight_graph()
    colours = {"w": EMBEDDING, "loss": FEEDFORWARD} | dict.fromkeys("pesr", ATTENTION)
    for name, node in graph.items():
        for one, slope in node.slopes.items():
            carry(axes, graph[one], node, slope)
        number_box(axes, node, colours.get(name, PLAIN))
    axes.text(28, 372, "value", color=INK, weight="bold")
    axes.text(28, 354, "gradient of the loss", color=ORANGE, weight="bold")
    ways = " + ".join(f"{decimal(graph[one].gradient)} · {decimal(graph[one].slopes['w'])}" for one in ("p", "r"))
    axes.text(28, 26, f"w is used twice:  {ways} = {decimal(graph['w'].gradient)}", color=ORANGE, weight="bold")
    return figure


def number_box(axes: Axes, node: Node, colour: str) -> None:
    """A number: its formula, its value and its gradient, one below the other."""
    box(axes, node.left, node.bottom, WIDE, HIGH, colour=colour)
    lines = ((node.formula, GREY, "normal"), (node.value, INK, "bold"), (node.gradient, ORANGE, "bold"))
    for row, (text, ink, weight) in enumerate(lines):
        shown = text if isinstance(text, str) else decimal(text)
        place = (node.left + WIDE / 2, node.bottom + HIGH - 20 - 19 * row)
        axes.text(*place, shown, color=ink, weight=weight, ha="center")


def carry(axes: Axes, one: Node, other: Node, slope: float) -> None:
    """An arrow from an input to what is computed from it, with the slope beside its middle."""
    start, end = (one.left + WIDE, one.bottom + HIGH / 2), (other.left, other.bottom + HIGH / 2)
    rise = (end[1] > start[1]) - (end[1] < start[1])
    end = (end[0], end[1] - 20 * rise)
    arrow(axes, start, end, LINE, 1.6)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    place = (middle[0] + 20 * abs(rise), middle[1] + (-16 if rise > 0 else 8))
    axes.text(*place, f"× {decimal(slope)}", color=GREY, ha="center")


def decimal(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".").replace("-", "−")
