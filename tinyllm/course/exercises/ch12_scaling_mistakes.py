"""What learners usually get wrong in notebook 12. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import numpy as np

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch12_scaling import (
    agreement,
    compute_optimal,
    fit_line,
    intensity,
    mend_fit,
    noise_scale,
    optimal_size,
    training_flops,
)

# training_flops

mistake(
    training_flops,
    "That is forward alone. Backward costs two products for each of its products.",
    lambda *arguments: training_flops(*arguments) // 3,
)

mistake(
    training_flops,
    "Backward is counted once. Each product has two: one for its inputs, one for its weights.",
    lambda *arguments: training_flops(*arguments) * 2 // 3,
)

mistake(
    training_flops,
    "Only the multiplications are counted. Each weight is multiplied and added: 2 FLOPs.",
    lambda *arguments: training_flops(*arguments) // 2,
)

mistake(
    training_flops,
    "The products of attention itself are missing: queries times keys, weights times values.",
    lambda num_layers, C, F, T, V: training_flops(num_layers, C, F, 0, V),
)

mistake(
    training_flops,
    "Attention has two products: the scores, and the mix of the values, which costs as much.",
    lambda num_layers, C, F, T, V: 6 * (num_layers * (4 * C * C + 2 * C * F + C * T) + V * C),
)

mistake(
    training_flops,
    "The head is missing: V logits for each token, C products each.",
    lambda num_layers, C, F, T, V: training_flops(num_layers, C, F, T, 0),
)

mistake(
    training_flops,
    "The embedding is counted too. It is looked up, a row for each token, and multiplies nothing.",
    lambda num_layers, C, F, T, V: training_flops(num_layers, C, F, T, 2 * V),
)


# intensity

mistake(
    intensity,
    "Only the multiplications are counted. Each is followed by an addition: 2 FLOPs.",
    lambda *arguments: intensity(*arguments) / 2,
)

mistake(
    intensity,
    "You divide by the numbers moved. A number has bytes_per_number bytes.",
    lambda rows, inner, columns, bytes_per_number=4: intensity(rows, inner, columns, 1),
)

mistake(
    intensity,
    "The result must be written too: rows x columns more numbers.",
    lambda rows, inner, columns, bytes_per_number=4: 2 * rows * columns / (bytes_per_number * (rows + columns)),
)

mistake(
    intensity,
    "It is upside down: return FLOPs per byte, not bytes per FLOP.",
    lambda *arguments: 1 / intensity(*arguments),
)

mistake(
    intensity,
    "You add up the three sides. A matrix has as many numbers as the product of its two sides.",
    lambda rows, inner, columns, bytes_per_number=4: (
        (2 * rows * inner * columns) / (bytes_per_number * (rows + inner + columns))
    ),
)

mistake(
    intensity,
    "Only the largest matrix is counted. All three are moved: two are read, one is written.",
    lambda rows, inner, columns, bytes_per_number=4: (
        (2 * rows * inner * columns) / (bytes_per_number * max(rows * inner, inner * columns, rows * columns))
    ),
)

mistake(
    intensity,
    "A dot product of n products has n - 1 sums, strictly. Count a sum for each product, as everybody does.",
    lambda rows, inner, columns, bytes_per_number=4: (
        (2 * inner - 1) * rows * columns / (bytes_per_number * (rows * inner + inner * columns + rows * columns))
    ),
)

mistake(
    intensity,
    "Only the matrix of weights is counted. The inputs are read too, and the result is written.",
    lambda rows, inner, columns, bytes_per_number=4: 2 * rows / bytes_per_number,
)


# fit_line

mistake(
    fit_line,
    "The floor is still in the losses. Subtract it before the logarithm.",
    lambda sizes, losses, floor: fit_line(sizes, losses, 0.0),
)


@mistake(
    fit_line,
    "The exponent is minus the slope: the law has a minus sign before it.",
)
def keeps_the_slope(sizes, losses, floor):
    scale, exponent = fit_line(sizes, losses, floor)
    return scale, -exponent


@mistake(
    fit_line,
    "The intercept of the line is ln(scale). Return the scale itself.",
)
def keeps_the_logarithm(sizes, losses, floor):
    scale, exponent = fit_line(sizes, losses, floor)
    return math.log(scale), exponent


@mistake(
    fit_line,
    "The two are swapped: scale first, then the exponent.",
)
def swaps_the_two(sizes, losses, floor):
    scale, exponent = fit_line(sizes, losses, floor)
    return exponent, scale


@mistake(
    fit_line,
    "The sizes need a logarithm too. Without it the line is that of an exponential decay.",
)
def sizes_without_logarithm(sizes, losses, floor):
    slope, height = np.polyfit(sizes, np.log(np.array(losses) - floor), 1)
    return float(np.exp(height)), float(-slope)


@mistake(
    fit_line,
    "Your logarithms have different bases: np.log10 gives powers of ten, which math.exp does not undo.",
)
def mixes_bases(sizes, losses, floor):
    scale, exponent = fit_line(sizes, losses, floor)
    return math.exp(math.log10(scale)), exponent


@mistake(
    fit_line,
    "Your line goes through two of the runs only. A least-squares fit uses all of them.",
)
def through_the_ends(sizes, losses, floor):
    x, y = np.log(sizes), np.log(np.array(losses) - floor)
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    return float(np.exp(y[0] - slope * x[0])), float(-slope)


@mistake(
    fit_line,
    "You fit sizes to losses, the wrong way round. The misfit that counts is that of the losses: x is ln(size).",
)
def sizes_from_losses(sizes, losses, floor):
    slope, height = np.polyfit(np.log(np.array(losses) - floor), np.log(sizes), 1)
    return float(np.exp(-height / slope)), float(-1 / slope)


@mistake(
    fit_line,
    "The losses need a logarithm too. Without it the line is no power law.",
)
def losses_without_logarithm(sizes, losses, floor):
    slope, height = np.polyfit(np.log(sizes), np.array(losses) - floor, 1)
    return float(height), float(-slope)


@mistake(
    fit_line,
    "Neither sizes nor losses have a logarithm: this is a straight line through the losses themselves.",
)
def no_logarithm(sizes, losses, floor):
    slope, height = np.polyfit(sizes, np.array(losses) - floor, 1)
    return float(height), float(-slope)


@mistake(
    fit_line,
    "You take the mean of the slopes between neighbours. A least-squares fit uses all runs at once: np.polyfit.",
)
def mean_of_slopes(sizes, losses, floor):
    x, y = np.log(sizes), np.log(np.array(losses) - floor)
    slope = np.mean(np.diff(y) / np.diff(x))
    return float(np.exp(np.mean(y - slope * x))), float(-slope)


# noise_scale

mistake(
    noise_scale,
    "It is upside down: the noise of one example divided by the true gradient's squared length.",
    lambda *arguments: 1 / noise_scale(*arguments),
)

mistake(
    noise_scale,
    "Even the large batch's gradient contains noise: subtract noise / B before you divide.",
    lambda small, large, b, B: (small - large) / (1 / b - 1 / B) / large,
)

mistake(
    noise_scale,
    "The difference of the two is not yet the noise of one example: divide it by 1 / b - 1 / B.",
    lambda small, large, b, B: (small - large) / (large - (small - large) / (1 / b - 1 / B) / B),
)

mistake(
    noise_scale,
    "Do not take the root: the noise scale compares squared lengths.",
    lambda *arguments: math.sqrt(noise_scale(*arguments)),
)

mistake(
    noise_scale,
    "That is the difference of the two squared lengths. It is noise alone, not yet noise per true gradient.",
    lambda small, large, b, B: small - large,
)

mistake(
    noise_scale,
    "That is the noise of one example. The noise scale divides it by the true gradient's squared length.",
    lambda small, large, b, B: (small - large) / (1 / b - 1 / B),
)

mistake(
    noise_scale,
    "That is the true gradient's squared length. The noise scale is the noise of one example divided by it.",
    lambda small, large, b, B: (B * large - b * small) / (B - b),
)

mistake(
    noise_scale,
    "By how much the small batch is longer depends on b and B too. Write the two equations, and solve them for both.",
    lambda small, large, b, B: (small - large) / large,
)

mistake(
    noise_scale,
    "You treat the large batch as free of noise and the small one as all noise. Solve the two equations for both.",
    lambda small, large, b, B: b * (small - large) / large,
)


# mend_fit


def _fit(without_floor, last_wins):
    """The code to be mended, with some of its bugs."""

    def run(sizes, losses):
        best, least = (0.0, 0.0, 0.0), math.inf
        for floor in np.linspace(0, min(losses), 400, endpoint=False):
            scale, exponent = fit_line(sizes, losses, floor)
            curve = scale * np.array(sizes) ** -exponent + (0 if without_floor else floor)
            misfit = (np.log(curve / losses) ** 2).sum()
            if misfit < least:
                best = (float(floor), scale, exponent)
                least = least if last_wins else misfit
        return best

    return run


mistake(
    mend_fit,
    "The floor that wins is always 0. The curve is the floor plus the power law, not the power law alone.",
    _fit(without_floor=True, last_wins=False),
)

mistake(
    mend_fit,
    "The last floor wins, whatever its misfit: `least` is never lowered.",
    _fit(without_floor=False, last_wins=True),
)


@mistake(
    mend_fit,
    "Your misfit is that of the losses themselves. Compare logarithms, so that each run counts by its share.",
)
def without_logarithms(sizes, losses):
    def misfit(floor):
        scale, exponent = fit_line(sizes, losses, floor)
        curve = floor + scale * np.array(sizes) ** -exponent
        return ((curve - losses) ** 2).sum()

    floor = min(np.linspace(0, min(losses), 400, endpoint=False), key=misfit)
    return (float(floor), *fit_line(sizes, losses, floor))


@mistake(
    mend_fit,
    "Your misfit adds up distances. It is the sum of their squares.",
)
def without_squares(sizes, losses):
    def misfit(floor):
        scale, exponent = fit_line(sizes, losses, floor)
        curve = floor + scale * np.array(sizes) ** -exponent
        return np.abs(np.log(curve / losses)).sum()

    floor = min(np.linspace(0, min(losses), 400, endpoint=False), key=misfit)
    return (float(floor), *fit_line(sizes, losses, floor))


@mistake(
    mend_fit,
    "Your misfit is that of the worst run alone. Add up the squares of all of them.",
)
def worst_run(sizes, losses):
    def misfit(floor):
        scale, exponent = fit_line(sizes, losses, floor)
        curve = floor + scale * np.array(sizes) ** -exponent
        return np.abs(np.log(curve / losses)).max()

    floor = min(np.linspace(0, min(losses), 400, endpoint=False), key=misfit)
    return (float(floor), *fit_line(sizes, losses, floor))


@mistake(
    mend_fit,
    "Your floors reach above the lowest loss, where loss - floor has no logarithm. They end a little below all losses.",
)
def floors_above_the_lowest_loss(sizes, losses):
    fits = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for floor in np.linspace(0, max(losses), 400, endpoint=False):
            scale, exponent = fit_line(sizes, losses, floor)
            misfit = (np.log((floor + scale * np.array(sizes) ** -exponent) / losses) ** 2).sum()
            fits.append((misfit, float(floor), scale, exponent))
    return min(fits)[1:]


# agreement

mistake(
    agreement,
    "That is the square of the cosine: the share of the squared length that is true. Take its root.",
    lambda batch, scale: 1 / (1 + scale / batch),
)

mistake(
    agreement,
    "That is upside down: a larger batch has less noise, so it agrees better.",
    lambda batch, scale: (1 + batch / scale) ** -0.5,
)

mistake(
    agreement,
    "That would be a gradient without noise. What does a batch of one hundredth of the noise scale see?",
    lambda batch, scale: 1.0,
)

mistake(
    agreement,
    "The lengths are added. Noise is at right angles to the truth: add the squares of the lengths, and take the root.",
    lambda batch, scale: 1 / (1 + math.sqrt(scale / batch)),
)

mistake(
    agreement,
    "You subtract the noise from 1. For a small batch that is below 0, and a cosine between these two is not.",
    lambda batch, scale: 1 - scale / batch,
)

mistake(
    agreement,
    "That has an exponential in it. Draw two sides of a right triangle, truth and noise: which cosine do they have?",
    lambda batch, scale: 1 - math.exp(-batch / scale),
)

mistake(
    agreement,
    "That is the ratio of truth and noise. The cosine divides by the third side of their triangle, not by the noise.",
    lambda batch, scale: math.sqrt(batch / scale),
)

mistake(
    agreement,
    "You square the noise scale. It is a ratio of squared lengths already.",
    lambda batch, scale: (1 + (scale / batch) ** 2) ** -0.5,
)


# compute_optimal

mistake(
    compute_optimal,
    "The 6 is missing: forward and backward cost 6 FLOPs for each parameter and token.",
    lambda flops, ratio=20.0: compute_optimal(6 * flops, ratio),
)

mistake(
    compute_optimal,
    "That is forward alone, 2 N D. Training costs 6 N D.",
    lambda flops, ratio=20.0: compute_optimal(3 * flops, ratio),
)

mistake(
    compute_optimal,
    "Parameters and tokens are swapped. Parameters come first, and there are `ratio` tokens for each of them.",
    lambda *arguments: compute_optimal(*arguments)[::-1],
)


@mistake(
    compute_optimal,
    "The root is missing: FLOPs grow with the square of the parameters, as D grows with N.",
)
def forgets_the_root(flops, ratio=20.0):
    parameters = flops / (6 * ratio)
    return parameters, ratio * parameters


mistake(
    compute_optimal,
    "Both grow alike in your answer, without the ratio. There are `ratio` tokens for each parameter.",
    lambda flops, ratio=20.0: ((flops / 6) ** 0.5, (flops / 6) ** 0.5),
)


# optimal_size

mistake(
    optimal_size,
    "The 6 is missing: N D is flops / 6.",
    lambda flops, *law: optimal_size(6 * flops, *law),
)

mistake(
    optimal_size,
    "That is the number of tokens D that goes with the best size: the two terms have changed places.",
    lambda flops, *law: flops / 6 / optimal_size(flops, *law),
)

mistake(
    optimal_size,
    "At this size both terms of the law are equal. At the best size their slopes are: alpha and beta come to stand "
    "before the terms.",
    lambda flops, A, alpha, B, beta: (A / B * (flops / 6) ** beta) ** (1 / (alpha + beta)),
)

mistake(
    optimal_size,
    "That is the root of flops / 6: half of the growth for each. It holds only where both terms are alike.",
    lambda flops, A, alpha, B, beta: (flops / 6) ** 0.5,
)
