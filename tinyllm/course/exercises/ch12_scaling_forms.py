"""Right answers of notebook 12 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import numpy as np

from tinyllm.course.checking.registry import form
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


@form(training_flops)
def product_by_product(num_layers, C, F, T, V):
    queries, keys, values, projection = C * C, C * C, C * C, C * C
    expand = C * F
    shrink = F * C
    fits = T * C
    mix = T * C
    layer = queries + keys + values + projection + expand + shrink + fits + mix
    head = V * C
    products = num_layers * layer + head
    forward = 2 * products
    backward = 2 * forward
    return forward + backward


@form(intensity)
def matrix_by_matrix(rows, inner, columns, bytes_per_number=4):
    flops = 2 * rows * inner * columns
    left = rows * inner
    right = inner * columns
    result = rows * columns
    moved = bytes_per_number * (left + right + result)
    return flops / moved


@form(fit_line)
def least_squares(sizes, losses, floor):
    x = np.log(sizes)
    y = np.log(np.array(losses) - floor)
    across, up = x - x.mean(), y - y.mean()
    slope = (across * up).sum() / (across * across).sum()
    height = y.mean() - slope * x.mean()
    scale = math.exp(height)
    exponent = -slope
    return scale, float(exponent)


@form(noise_scale)
def in_one_fraction(small, large, b, B):
    difference = small - large
    noise = b * B * difference
    truth = B * large - b * small
    return noise / truth


@form(noise_scale)
def truth_first(small, large, b, B):
    truth = (B * large - b * small) / (B - b)
    noise = b * (small - truth)
    return noise / truth


@form(mend_fit)
def best_so_far(sizes, losses):
    least = math.inf
    best = None
    for floor in np.linspace(0, min(losses), 400, endpoint=False):
        scale, exponent = fit_line(sizes, losses, floor)
        curve = floor + scale * np.array(sizes) ** -exponent
        apart = np.log(curve) - np.log(losses)
        misfit = (apart**2).sum()
        if misfit < least:
            least = misfit
            best = float(floor), scale, exponent
    return best


@form(agreement)
def share_that_is_true(batch, scale):
    total = batch + scale
    share = batch / total
    return math.sqrt(share)


@form(agreement)
def noise_beside_truth(batch, scale):
    noise = scale / batch
    length = math.sqrt(1 + noise)
    return 1 / length


@form(compute_optimal)
def tokens_first(flops, ratio=20.0):
    product = flops / 6
    square = product * ratio
    tokens = math.sqrt(square)
    parameters = tokens / ratio
    return parameters, tokens


@form(optimal_size)
def in_two_factors(flops, A, alpha, B, beta):
    product = flops / 6
    steepness = alpha + beta
    balance = (alpha * A) / (beta * B)
    share = beta / steepness
    return balance ** (1 / steepness) * product**share
