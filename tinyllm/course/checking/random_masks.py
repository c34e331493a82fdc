"""Whether masks that a function draws are random: statistics of many calls, with bounds that a right one passes.

Each bound is five standard deviations and more, so that of a million right answers about one is refused.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_BOUND = 5.5  # standard deviations


def mask_findings(dropped: Bool[Tensor, "N R C"], p: float) -> dict[str, bool]:
    """What is true of N masks in which each value is dropped with probability p, whatever was drawn.

    Args:
        dropped: a mask for each of N calls, 20 at least, of R rows and C columns, 10 each at least.
        p: between 0 and 1, not at the ends.
    """
    values = dropped.double() - p
    counts = values.flatten(1).sum(1)
    spread = math.sqrt(p * (1 - p))
    return {
        f"about {p:.0%} of the values are zero": _small(values.mean(), spread, values.numel()),
        "each place is dropped in some calls only": _small(values.mean(0).abs().max(), spread, len(values), 1.5),
        "rows differ": _unrelated(values, values.roll(1, 1), spread),
        "columns differ": _unrelated(values, values.roll(1, 2), spread),
        "each call draws anew": _unrelated(values, values.roll(1, 0), spread),
        "no part repeats another": _repeats_nothing((values - values.mean()).flatten(1), spread),
        "how many are dropped varies from call to call": _counts_vary(counts, spread, values[0].numel()),
    }


def _small(mean: Tensor, spread: float, number: int, more: float = 1.0) -> bool:
    return bool(mean.abs() < more * _BOUND * spread / math.sqrt(number))


def _unrelated(values: Tensor, others: Tensor, spread: float) -> bool:
    """Whether two values are no more often dropped together than by chance."""
    return _small((values * others).mean(), spread**2, values.numel())


def _repeats_nothing(values: Float[Tensor, "N M"], spread: float) -> bool:
    """Whether values at any distance, or mirrored about any place, are no more often dropped together than by chance.

    Each of the sums over a mask is one lag of its correlation with itself, or with itself mirrored: by the FFT.
    """
    waves = torch.fft.fft(values.float())
    sums = [torch.fft.ifft(waves * other).real.sum(0) for other in (waves.conj(), waves)]
    sums[0][0] = 0  # each value with itself
    sums[1] /= math.sqrt(2)  # each pair counts twice there
    largest = torch.stack(sums).abs().max().item()
    return largest < 1.3 * _BOUND * spread**2 * math.sqrt(values.numel())  # there are many lags


def _counts_vary(counts: Tensor, spread: float, number: int) -> bool:
    """Whether the counts have the variance of independent draws, as far as N of them can show.

    Their mean square follows chi-squared, which is skewed; its cube root is close to normal (Wilson and Hilferty,
    1931).
    """
    ratio = counts.square().mean().item() / (number * spread**2)
    variance = 2 / (9 * len(counts))
    return bool(abs(ratio ** (1 / 3) - (1 - variance)) < _BOUND * math.sqrt(variance))
