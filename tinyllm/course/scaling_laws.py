"""Scaling laws: loss falls as a power of size and of text, so small runs predict a larger one.

Shape letters: N runs, K floors tried, P exponents tried, U unknowns.

Sources: Kaplan et al., "Scaling Laws for Neural Language Models" (2020), without a floor; Henighan et al., "Scaling
Laws for Autoregressive Generative Modeling" (2020), with one; Rosenfeld et al., "A Constructive Prediction of the
Generalization Error Across Scales" (2020), and Hoffmann et al., "Training Compute-Optimal Large Language Models"
(2022), with a floor and a term each for size and text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from jaxtyping import Float

FLOORS = 400  # tried, from 0 up to the lowest loss
EXPONENTS = np.linspace(0.05, 3, 60)  # tried, for size and for text, and then
FINER = np.linspace(-0.05, 0.05, 41)  # around the best of them


@dataclass(frozen=True)
class PowerLaw:
    """loss(x) = floor + scale * x^-exponent."""

    floor: float
    scale: float
    exponent: float

    @overload
    def __call__(self, x: float) -> float: ...
    @overload
    def __call__(self, x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]: ...
    def __call__(self, x: float | Float[np.ndarray, "*shape"]) -> float | Float[np.ndarray, "*shape"]:
        """The loss at x."""
        return self.floor + self.scale * x**-self.exponent


def fit_power_law(x: Sequence[float], loss: Sequence[float], floor: float | None = None) -> PowerLaw:
    """The power law closest to some runs, by least squares of ln(loss).

    Minus its floor, a power law is a straight line on logarithmic axes. A known floor is subtracted; an unknown one is
    searched for: of `FLOORS` values between 0 and the lowest loss, the one whose law is closest to the losses.

    Args:
        x: what the runs differ in, such as parameters, tokens or FLOPs; above 0.
        loss: of each run, in nats per token.
        floor: the loss that no x could reach, if known.

    Raises:
        ValueError: too few different x (two are needed, or three for an unknown floor), an x that is not above 0, a
            loss that is not above the floor, or losses that do not fall.
    """
    sizes, losses = np.asarray(x, float), np.asarray(loss, float)
    needed = 2 if floor is not None else 3
    if sizes.shape != losses.shape or len(np.unique(sizes)) < needed:
        raise ValueError(f"a power law needs runs at {needed} different x at least, and one loss for each")
    if not (np.isfinite(sizes).all() and sizes.min() > 0):
        raise ValueError("every x must be a number above 0")
    if not (np.isfinite(losses).all() and losses.min() > (floor or 0)):
        raise ValueError(f"every loss must be a number above {floor or 0:g}, the floor")
    law = _closest(sizes, losses, floor)
    if law.exponent < 1e-9:  # what rounding leaves of equal losses
        raise ValueError("the loss does not fall as x grows: there is no power law to fit")
    return law


def _closest(sizes: Float[np.ndarray, " N"], losses: Float[np.ndarray, " N"], floor: float | None) -> PowerLaw:
    """The law with the best floor: for each floor, a straight line through the logarithms of the runs."""
    floors = np.linspace(0, losses.min(), FLOORS, endpoint=False) if floor is None else np.array([floor])
    excess = losses[:, None] - floors  # (N, K)
    slopes, heights = np.polyfit(np.log(sizes), np.log(excess), 1)
    predicted = floors + np.exp(heights + slopes * np.log(sizes)[:, None])  # (N, K)
    misfit = (np.log(predicted / losses[:, None]) ** 2).sum(0)
    best = int(misfit.argmin())
    return PowerLaw(float(floors[best]), float(np.exp(heights[best])), float(-slopes[best]))


@dataclass(frozen=True)
class JointLaw:
    """loss(N, D) = floor + size_scale * N^-size_exponent + data_scale * D^-data_exponent, for N weights and D tokens.

    Hoffmann et al. (2022), equation 2, call these E, A, alpha, B and beta.
    """

    floor: float
    size_scale: float
    size_exponent: float
    data_scale: float
    data_exponent: float

    @overload
    def __call__(self, size: float, tokens: float) -> float: ...
    @overload
    def __call__(
        self, size: Float[np.ndarray, "*shape"], tokens: Float[np.ndarray, "*shape"] | float
    ) -> Float[np.ndarray, "*shape"]: ...
    def __call__(
        self, size: float | Float[np.ndarray, "*shape"], tokens: float | Float[np.ndarray, "*shape"]
    ) -> float | Float[np.ndarray, "*shape"]:
        """The loss of a model of so many weights after so many tokens."""
        return self.floor + self.size_scale * size**-self.size_exponent + self.data_scale * tokens**-self.data_exponent


def fit_joint_law(
    size: Sequence[float], tokens: Sequence[float], loss: Sequence[float], floor: float | None = None
) -> JointLaw:
    """The law of size and text closest to some runs, by least squares of law / loss - 1.

    For given exponents the law is linear in its floor and scales, so these follow from a small system of equations. All
    pairs of `EXPONENTS` are tried, then finer ones around the best pair: there is no start to choose.

    Args:
        size: weights of each run's model.
        tokens: that each run trained on.
        loss: of each run, in nats per token.
        floor: the loss that no run could reach, if known; otherwise the closest of at least 0.

    Raises:
        ValueError: fewer than three sizes or three numbers of tokens, lengths that differ, a number that is not above
            0, or a loss that is not above the floor.
    """
    N, D, L = (np.asarray(values, float) for values in (size, tokens, loss))
    if not N.shape == D.shape == L.shape or min(len(np.unique(N)), len(np.unique(D))) < 3:
        raise ValueError("a law of size and text needs 3 sizes, 3 numbers of tokens, and one loss for each run")
    if not all(np.isfinite(values).all() and values.min() > 0 for values in (N, D, L)):
        raise ValueError("every size, number of tokens and loss must be a number above 0")
    if L.min() <= (floor or 0):
        raise ValueError(f"every loss must be above {floor or 0:g}, the floor")
    floors = [floor] if floor is not None else [None, 0.0]  # a free floor may come out below 0; then it is 0
    return min((_closest_joint(N, D, L, one) for one in floors), key=lambda found: found[0])[1]


def _closest_joint(
    N: Float[np.ndarray, " N"], D: Float[np.ndarray, " N"], L: Float[np.ndarray, " N"], floor: float | None
) -> tuple[float, JointLaw]:
    """The least misfit, and its law: of those without a negative floor or scale."""
    units = np.exp(np.log(N).mean()), np.exp(np.log(D).mean())  # so that no power is huge or tiny
    alphas = betas = EXPONENTS
    target = 1 - (floor or 0) / L
    for _ in range(2):
        powers = (N / units[0]) ** -alphas[:, None, None], (D / units[1]) ** -betas[:, None]  # (P, 1, N) and (P, N)
        columns = [*powers, np.ones_like(L)] if floor is None else powers
        design = np.stack(np.broadcast_arrays(*columns), -1) / L[:, None]  # (P, P, N, U)
        across = design.swapaxes(-1, -2)
        unknowns = np.linalg.solve(across @ design, (across @ target)[..., None])[..., 0]  # (P, P, U)
        misfits = (((design @ unknowns[..., None])[..., 0] - target) ** 2).sum(-1)  # (P, P)
        misfits[(unknowns < 0).any(-1)] = np.inf
        row, column = np.unravel_index(misfits.argmin(), misfits.shape)
        alpha, beta = alphas[row], betas[column]
        alphas, betas = (np.maximum(best + FINER, 0.01) for best in (alpha, beta))
    A, B, *free = unknowns[row, column]
    scales = float(A * units[0] ** alpha), float(B * units[1] ** beta)
    law = JointLaw(float(free[0]) if free else floor or 0.0, scales[0], float(alpha), scales[1], float(beta))
    return float(misfits[row, column]), law
