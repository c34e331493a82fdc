"""Exercises of notebook 12: what a model costs, and what a larger one would reach."""

import math
import random

import numpy as np

from tinyllm.course.checking.checking import exercise, mistake


def _sizes() -> tuple[int, int, int, int, int]:
    """Layers, embedding_dim, feedforward_dim, context_length, vocab_size."""
    width = 8 * random.randint(2, 20)
    wider = random.choice((3, 4, 5)) * width
    return random.randint(1, 9), width, wider, random.randint(20, 300), random.randint(50, 999)


@exercise(
    cases=lambda: [(1, 2, 8, 3, 5), (2, 4, 16, 8, 10), *(_sizes() for _ in range(3))],
    hint="Count the weights of all matrix products first: four C x C and two C x F in each layer, and the head. What "
    "does one weight cost in forward? What do attention's two products cost for T tokens looked at?",
    why="Embeddings are looked up, not multiplied. The head is multiplied, even when it is the embedding's matrix.",
)
def training_flops(num_layers: int, C: int, F: int, T: int, V: int) -> int:
    """FLOPs of training on one token: forward, and twice as much backward. Attention looks at T tokens."""
    weights = num_layers * (4 * C * C + 2 * C * F) + V * C
    attention = num_layers * 2 * C * T
    return 3 * 2 * (weights + attention)


@mistake(training_flops, "That is forward alone. Backward costs two products for each of its products.")
def only_forward(num_layers: int, C: int, F: int, T: int, V: int) -> int:
    return training_flops(num_layers, C, F, T, V) // 3


@mistake(training_flops, "Backward is counted once. Each product has two: one for its inputs, one for its weights.")
def backward_counted_once(num_layers: int, C: int, F: int, T: int, V: int) -> int:
    return training_flops(num_layers, C, F, T, V) * 2 // 3


@mistake(training_flops, "Only the multiplications are counted. Each weight is multiplied and added: 2 FLOPs.")
def only_multiplications(num_layers: int, C: int, F: int, T: int, V: int) -> int:
    return training_flops(num_layers, C, F, T, V) // 2


@mistake(training_flops, "The products of attention itself are missing: queries times keys, weights times values.")
def forgets_attention(num_layers: int, C: int, F: int, T: int, V: int) -> int:
    return training_flops(num_layers, C, F, 0, V)


@mistake(
    training_flops,
    "Attention has two products: the scores, and the mix of the values, which costs as much.",
)
def half_of_attention(num_layers: int, C: int, F: int, T: int, V: int) -> int:
    return 6 * (num_layers * (4 * C * C + 2 * C * F + C * T) + V * C)


@mistake(training_flops, "The head is missing: V logits for each token, C products each.")
def forgets_the_head(num_layers: int, C: int, F: int, T: int, V: int) -> int:
    return training_flops(num_layers, C, F, T, 0)


@mistake(training_flops, "The embedding is counted too. It is looked up, a row for each token, and multiplies nothing.")
def counts_the_embedding(num_layers: int, C: int, F: int, T: int, V: int) -> int:
    return training_flops(num_layers, C, F, T, 2 * V)


@exercise(
    cases=lambda: [
        (1, 2, 3),
        (4, 4, 4, 2),
        *((*random.sample(range(1, 200), 3), random.choice((1, 2, 4))) for _ in range(3)),
    ],
    hint="How many products and sums has a matrix product? How many numbers must be read, and how many written?",
    why="Many FLOPs take no longer than one number takes to arrive. A token alone does 2 with each weight.",
)
def intensity(rows: int, inner: int, columns: int, bytes_per_number: int = 4) -> float:
    """FLOPs per byte moved of the product (rows, inner) @ (inner, columns), each matrix read or written once."""
    flops = 2 * rows * inner * columns
    numbers = rows * inner + inner * columns + rows * columns
    return flops / (bytes_per_number * numbers)


@mistake(intensity, "Only the multiplications are counted. Each is followed by an addition: 2 FLOPs.")
def counts_one_flop(rows: int, inner: int, columns: int, bytes_per_number: int = 4) -> float:
    return intensity(rows, inner, columns, bytes_per_number) / 2


@mistake(intensity, "You divide by the numbers moved. A number has bytes_per_number bytes.")
def counts_numbers(rows: int, inner: int, columns: int, bytes_per_number: int = 4) -> float:
    return intensity(rows, inner, columns, 1)


@mistake(intensity, "The result has to be written too: rows x columns more numbers.")
def forgets_the_result(rows: int, inner: int, columns: int, bytes_per_number: int = 4) -> float:
    return 2 * rows * columns / (bytes_per_number * (rows + columns))


@mistake(intensity, "It is upside down: FLOPs per byte are wanted, not bytes per FLOP.")
def bytes_per_flop(rows: int, inner: int, columns: int, bytes_per_number: int = 4) -> float:
    return 1 / intensity(rows, inner, columns, bytes_per_number)


def _runs(number: int, scatter: float) -> tuple[list[float], list[float], float]:
    """Sizes, losses and their floor."""
    floor, scale, exponent = random.uniform(0.2, 2), random.uniform(5, 500), random.uniform(0.2, 1.2)
    sizes = [1000.0 * 2**place for place in range(number)]
    losses = [floor + scale * size**-exponent * math.exp(random.gauss(0, scatter)) for size in sizes]
    return sizes, losses, floor


@exercise(
    cases=lambda: [([1.0, 10.0, 100.0], [5.0, 2.5, 2.25], 2.2), _runs(3, 0), _runs(5, 0.1), _runs(6, 0.1)],
    hint="Take the floor away, then the logarithm of both sides: ln(loss - floor) = ln(scale) - exponent ln(size). "
    "np.polyfit(x, y, 1) gives slope and height of the straight line.",
    why="A power law is a straight line once both axes are logarithms, so a line is all there is to fit.",
)
def fit_line(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    """(scale, exponent) of loss = floor + scale * size^-exponent: least squares between the logarithms."""
    slope, height = np.polyfit(np.log(sizes), np.log(np.array(losses) - floor), 1)
    return float(np.exp(height)), float(-slope)


@mistake(fit_line, "The floor is still in the losses. Take it away before the logarithm.")
def leaves_the_floor(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    return fit_line(sizes, losses, 0.0)


@mistake(fit_line, "The exponent is the slope with its sign turned: the law has a minus in front of it.")
def keeps_the_slope(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    scale, exponent = fit_line(sizes, losses, floor)
    return scale, -exponent


@mistake(fit_line, "The height of the line is ln(scale). Give the scale itself.")
def keeps_the_logarithm(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    scale, exponent = fit_line(sizes, losses, floor)
    return math.log(scale), exponent


@mistake(fit_line, "The two come in the other order: scale first, then the exponent.")
def swaps_the_two(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    scale, exponent = fit_line(sizes, losses, floor)
    return exponent, scale


@mistake(fit_line, "The sizes need a logarithm too. Without it the line is that of an exponential decay.")
def sizes_without_logarithm(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    slope, height = np.polyfit(sizes, np.log(np.array(losses) - floor), 1)
    return float(np.exp(height)), float(-slope)


@mistake(fit_line, "Your logarithms have different bases: np.log10 gives powers of ten, which math.exp does not undo.")
def mixes_bases(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    scale, exponent = fit_line(sizes, losses, floor)
    return math.exp(math.log10(scale)), exponent


def _squared_lengths() -> tuple[float, float, int, int]:
    """What batches of b and of B show of a true gradient and its noise."""
    truth, noise = random.uniform(0.2, 2), random.uniform(0.5, 20)
    small, large = random.choice(((1, 8), (2, 16), (4, 64), (8, 128)))
    return truth + noise / small, truth + noise / large, small, large


@exercise(
    cases=lambda: [(3.0, 2.0, 1, 2), *(_squared_lengths() for _ in range(4))],
    hint="Two equations, small = truth + noise / b and large = truth + noise / B, with two unknowns. Their difference "
    "holds only the noise.",
    why="Below this batch size the noise is the larger part of a gradient, and more examples buy a better direction. "
    "Far above it they buy nothing.",
)
def noise_scale(small: float, large: float, b: int, B: int) -> float:
    """The batch size at which noise and true gradient are equally long: noise / truth.

    small and large are the mean squared lengths of the gradients of batches of b and of B examples.
    """
    noise = (small - large) / (1 / b - 1 / B)
    truth = large - noise / B
    return noise / truth


@mistake(noise_scale, "It is upside down: the noise of one example divided by the true gradient's squared length.")
def truth_by_noise(small: float, large: float, b: int, B: int) -> float:
    return 1 / noise_scale(small, large, b, B)


@mistake(noise_scale, "Even the large batch's gradient holds noise: take noise / B away before you divide.")
def takes_large_for_true(small: float, large: float, b: int, B: int) -> float:
    return (small - large) / (1 / b - 1 / B) / large


@mistake(noise_scale, "The difference of the two is not yet the noise of one example: divide it by 1 / b - 1 / B.")
def takes_the_difference_for_noise(small: float, large: float, b: int, B: int) -> float:
    return (small - large) / (large - (small - large) / (1 / b - 1 / B) / B)


@mistake(noise_scale, "The root is too much: the noise scale compares squared lengths.")
def takes_the_root(small: float, large: float, b: int, B: int) -> float:
    return math.sqrt(noise_scale(small, large, b, B))


@exercise(
    cases=lambda: [(1e18,), (6e15, 10.0), *((10 ** random.uniform(12, 24), random.uniform(5, 40)) for _ in range(3))],
    hint="FLOPs = 6 N D, and D = ratio times N. Put the second into the first and solve for N.",
    why="Both grow with the root of the arithmetic: four times the FLOPs, twice the model, on twice the text.",
)
def compute_optimal(flops: float, ratio: float = 20.0) -> tuple[float, float]:
    """(parameters N, tokens D) that spend `flops` = 6 N D with D = ratio * N."""
    parameters = (flops / (6 * ratio)) ** 0.5
    return parameters, ratio * parameters


@mistake(compute_optimal, "The 6 is missing: forward and backward cost 6 FLOPs for each parameter and token.")
def forgets_the_six(flops: float, ratio: float = 20.0) -> tuple[float, float]:
    return compute_optimal(6 * flops, ratio)


@mistake(compute_optimal, "That is forward alone, 2 N D. Training costs 6 N D.")
def counts_forward_alone(flops: float, ratio: float = 20.0) -> tuple[float, float]:
    return compute_optimal(3 * flops, ratio)


@mistake(
    compute_optimal,
    "Parameters and tokens are swapped. Parameters come first, and there are `ratio` tokens for each of them.",
)
def tokens_first(flops: float, ratio: float = 20.0) -> tuple[float, float]:
    return compute_optimal(flops, ratio)[::-1]


@mistake(compute_optimal, "The root is missing: FLOPs grow with the square of the parameters, as D grows with N.")
def forgets_the_root(flops: float, ratio: float = 20.0) -> tuple[float, float]:
    parameters = flops / (6 * ratio)
    return parameters, ratio * parameters
