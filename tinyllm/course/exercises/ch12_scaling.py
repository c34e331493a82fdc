"""Exercises of notebook 12: what a model costs, and what a larger one would reach."""

import math
import random

import numpy as np

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.registry import exercise


def _sizes() -> tuple[int, int, int, int, int]:
    """Layers, embedding_dim, feedforward_dim, context_length, vocab_size."""
    width = 8 * random.randint(2, 20)
    wider = random.choice((3, 4, 5)) * width
    return random.randint(1, 9), width, wider, random.randint(20, 300), random.randint(50, 999)


@exercise(
    cases=lambda: [(1, 2, 8, 3, 5), (2, 4, 16, 8, 10), (12, 9, 25, 7, 31), *(_sizes() for _ in range(3))],
    hint="Count the weights of all matrix products first: four C x C and two C x F in each layer, and the head. What "
    "does one weight cost in forward? What do attention's two products cost for T tokens attended to?",
    why="Embeddings are looked up, not multiplied. The head is multiplied, even when it is the embedding's matrix.",
)
def training_flops(num_layers: int, C: int, F: int, T: int, V: int) -> int:
    """FLOPs of training on one token: forward, and twice as much backward. Attention covers T tokens."""
    weights = num_layers * (4 * C * C + 2 * C * F) + V * C
    attention = num_layers * 2 * C * T
    return 3 * 2 * (weights + attention)


@exercise(
    cases=lambda: [
        (1, 2, 3),
        (4, 4, 4, 2),
        (7, 2, 9),  # the result is the largest of the three matrices
        *((*random.sample(range(1, 200), 3), random.choice((1, 2, 4))) for _ in range(3)),
    ],
    hint="How many products and sums are in a matrix product? How many numbers must be read, and how many written?",
    why="Many FLOPs take no longer than fetching one number. A single token does 2 with each weight.",
)
def intensity(rows: int, inner: int, columns: int, bytes_per_number: int = 4) -> float:
    """FLOPs per byte moved of the product (rows, inner) @ (inner, columns), each matrix read or written once."""
    flops = 2 * rows * inner * columns
    numbers = rows * inner + inner * columns + rows * columns
    return flops / (bytes_per_number * numbers)


def _runs(count: int, scatter: float) -> tuple[list[float], list[float], float]:
    """Sizes, losses and their floor."""
    floor, scale, exponent = random.uniform(0.2, 2), random.uniform(5, 500), random.uniform(0.2, 1.2)
    sizes = [random.uniform(500, 1500) * 2.5**step for step in range(count)]
    random.shuffle(sizes)
    losses = [floor + scale * size**-exponent * math.exp(random.gauss(0, scatter)) for size in sizes]
    return sizes, losses, floor


@exercise(
    cases=lambda: [
        ([1.0, 10.0, 100.0], [5.0, 2.5, 2.25], 2.2),
        _runs(3, 0),
        _runs(5, 0.1),
        _runs(2, 0),
        _runs(12, 0.1),
    ],
    hint="Subtract the floor, then take the logarithm of both sides: ln(loss - floor) = ln(scale) - exponent "
    "ln(size). np.polyfit(x, y, 1) gives slope and intercept of the straight line.",
    why="A power law is a straight line once both axes are logarithms, so a line is all there is to fit.",
)
def fit_line(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    """(scale, exponent) of loss = floor + scale * size^-exponent: least squares between the logarithms."""
    slope, intercept = np.polyfit(np.log(sizes), np.log(np.array(losses) - floor), 1)
    return float(np.exp(intercept)), float(-slope)


def _squared_lengths() -> tuple[float, float, int, int]:
    """What batches of b and of B examples show of a true gradient and its noise."""
    truth, noise = random.uniform(0.2, 2), random.uniform(0.5, 20)
    small = random.randint(1, 9)
    large = random.randint(2 * small, 20 * small)
    return truth + noise / small, truth + noise / large, small, large


@exercise(
    cases=lambda: [(3.0, 2.0, 1, 2), *(_squared_lengths() for _ in range(4))],
    hint="Two equations, small = truth + noise / b and large = truth + noise / B, with two unknowns. Their difference "
    "contains only the noise.",
    why="Below this batch size the noise is the larger part of a gradient, and more examples buy a better direction. "
    "Far above it they hardly help.",
)
def noise_scale(small: float, large: float, b: int, B: int) -> float:
    """The batch size at which noise and true gradient have equal length: noise / truth.

    small and large are the mean squared lengths of the gradients of batches of b and of B examples.
    """
    noise = (small - large) / (1 / b - 1 / B)
    truth = large - noise / B
    return noise / truth


def _losses_only(count: int, scatter: float) -> tuple[list[float], list[float]]:
    sizes, losses, _ = _runs(count, scatter)
    return sizes, losses


@exercise(
    cases=lambda: [
        *(_losses_only(*run) for run in ((4, 0), (5, 0.1), (6, 0.02), (12, 0.1))),
        # Here each kind of misfit has its least at another floor.
        ([100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0], [9.0, 4.0, 2.9, 1.7, 1.5]),
        ([50.0, 400.0, 3200.0], [8.0, 4.0, 2.0]),  # and here it is 0
    ],
    hint="Print floor and misfit in each round. Does the curve come near the losses? And when is a round better than "
    "the best so far?",
    why="The curve is the floor plus the power law. And the least misfit has to be carried on: otherwise the last "
    "floor wins instead of the best.",
)
def mend_fit(sizes: list[float], losses: list[float]) -> tuple[float, float, float]:
    """(floor, scale, exponent) with the smallest misfit, of 400 floors: even steps from 0 to just below all losses.

    The misfit is the sum of squared logarithms of curve / loss.
    """
    fits = []
    for floor in np.linspace(0, min(losses), 400, endpoint=False):
        scale, exponent = fit_line(sizes, losses, floor)
        curve = floor + scale * np.array(sizes) ** -exponent
        misfit = (np.log(curve / losses) ** 2).sum()
        fits.append((misfit, float(floor), scale, exponent))
    return min(fits)[1:]


@exercise(
    draws=True,
    cases=lambda: [(8.0, 8.0), (2.0, 10.0), (30.0, 10.0), (1.0, 50.0), (random.uniform(5, 20), random.uniform(30, 60))],
    observe=lambda function, batch, scale: settle(
        function(batch, scale),
        (1 + scale / batch) ** -0.5,
        1 / (1 + scale / batch),
        (1 + batch / scale) ** -0.5,
        1 / (1 + batch / scale),
        1.0,
    ),
    hint="Draw a true gradient of squared length 1 in many dimensions, and noise of squared length scale / batch. "
    "What is the cosine between their sum and the truth?",
    why="Noise is at right angles to the truth, nearly. So the two are the sides of a right triangle, with lengths 1 "
    "and the root of scale / batch, and the cosine is 1 over the third side.",
)
def agreement(batch: float, scale: float) -> float:
    """The cosine between the gradient of a batch and the true one, for a given noise scale."""
    return 1 / math.sqrt(1 + scale / batch)


@exercise(
    cases=lambda: [(1e18,), (6e15, 10.0), *((10 ** random.uniform(12, 24), random.uniform(5, 40)) for _ in range(3))],
    hint="FLOPs = 6 N D, and D = ratio times N. Substitute the second into the first and solve for N.",
    why="Both grow with the root of the arithmetic: four times the FLOPs, twice the model, on twice the text.",
)
def compute_optimal(flops: float, ratio: float = 20.0) -> tuple[float, float]:
    """(parameters N, tokens D) that spend `flops` = 6 N D with D = ratio * N."""
    parameters = (flops / (6 * ratio)) ** 0.5
    return parameters, ratio * parameters


def _budget_and_law() -> tuple[float, float, float, float, float]:
    """FLOPs, then A, alpha, B and beta of a law."""
    alpha, beta = random.uniform(0.2, 0.6), random.uniform(0.65, 1.2)
    return 10 ** random.uniform(9, 20), 10 ** random.uniform(1, 4), alpha, 10 ** random.uniform(1, 4), beta


@exercise(
    cases=lambda: [
        (6e6, 1.0, 1.0, 1.0, 0.5),
        (5.88e23, 406.4, 0.34, 410.7, 0.28),
        *(_budget_and_law() for _ in range(4)),
    ],
    hint="Put D = flops / (6 N) into the law. Its derivative by N is 0 at the best size: one power of N on each side. "
    "Or search: try sizes, and keep the one with the lowest loss, to four digits.",
    why="At the best size a little more of either buys equally much: alpha A / N^alpha = beta B / D^beta. A steep law "
    "of text, a large beta, is soon used up, so its share of the arithmetic grows more slowly.",
)
def optimal_size(flops: float, A: float, alpha: float, B: float, beta: float) -> float:
    """The size N with the lowest loss E + A / N^alpha + B / D^beta, where training costs `flops` = 6 N D."""
    return float((alpha * A / (beta * B) * (flops / 6) ** beta) ** (1 / (alpha + beta)))
