"""Right answers to the exercises of notebook 12, in other styles than the references."""

import math

import numpy as np


def training_flops(num_layers, C, F, T, V):
    forward = 2 * V * C
    for _ in range(num_layers):
        forward += 2 * (4 * C**2 + C * F + F * C) + 2 * (C * T + T * C)
    return float(forward + 2 * forward)


def intensity(rows, inner, columns, bytes_per_number=4):
    moved = bytes_per_number * sum((rows * inner, inner * columns, rows * columns))
    return np.float64(rows * columns * (inner + inner)) / moved


def fit_line(sizes, losses, floor):
    table = np.stack([np.ones(len(sizes)), -np.log(sizes)], axis=1)
    height, exponent = np.linalg.lstsq(table, np.log(np.subtract(losses, floor)), rcond=None)[0]
    return [math.exp(height), exponent]


def mend_fit(sizes, losses):
    best = None
    for step in range(400):
        floor = min(losses) * step / 400
        scale, exponent = fit_line(sizes, losses, floor)
        curve = [floor + scale / size**exponent for size in sizes]
        misfit = sum(math.log(one / other) ** 2 for one, other in zip(curve, losses, strict=True))
        if best is None or misfit < best[0]:
            best = misfit, floor, scale, exponent
    return best[1:]


def noise_scale(small, large, b, B):
    truth = (B * large - b * small) / (B - b)
    return b * (small - truth) / truth


def agreement(batch, scale):
    return math.cos(math.atan(math.sqrt(scale / batch)))


def compute_optimal(flops, ratio=20.0):
    tokens = math.sqrt(flops * ratio / 6)
    return tokens / ratio, tokens


def optimal_size(flops, A, alpha, B, beta):
    low, high = 0.0, math.log(flops)
    for _ in range(200):  # the loss falls, then rises: thirds
        left, right = low + (high - low) / 3, high - (high - low) / 3
        one, other = (A / math.exp(size) ** alpha + B * (6 * math.exp(size) / flops) ** beta for size in (left, right))
        low, high = (low, right) if one < other else (left, high)
    return math.exp((low + high) / 2)
