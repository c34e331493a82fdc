"""Scaling laws: exact ones are found again, and no other law is closer to scattered runs."""

import math

import numpy as np
import pytest
from scipy.optimize import least_squares

from tinyllm.course.scaling_laws import FLOORS, JointLaw, PowerLaw, fit_joint_law, fit_power_law

SIZES = np.array([1e4, 3e4, 1e5, 3e5, 1e6, 3e6])


def scattered(law: PowerLaw, spread: float, seed: int, sizes: np.ndarray = SIZES) -> np.ndarray:
    return law(sizes) * np.exp(spread * np.random.default_rng(seed).standard_normal(len(sizes)))


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.0, 5.0, 0.1), (0.3, 400.0, 0.6), (1.7, 30.0, 0.34)])
def test_an_exact_law_with_a_known_floor_is_found_again(floor, scale, exponent):
    law = fit_power_law(SIZES, PowerLaw(floor, scale, exponent)(SIZES), floor)
    assert (law.floor, law.scale, law.exponent) == pytest.approx((floor, scale, exponent))


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.3, 400.0, 0.6), (1.7, 30.0, 0.34), (0.0, 50.0, 0.3)])
def test_an_exact_law_is_found_to_within_a_step_of_the_floors_tried(floor, scale, exponent):
    losses = PowerLaw(floor, scale, exponent)(SIZES)
    law = fit_power_law(list(SIZES), list(losses))
    assert abs(law.floor - floor) <= losses.min() / FLOORS
    np.testing.assert_allclose(law(SIZES), losses, rtol=0.01)
    assert law(1e8) == pytest.approx(PowerLaw(floor, scale, exponent)(1e8), abs=1.5 * losses.min() / FLOORS)


def test_with_a_known_floor_it_is_the_regression_of_the_logarithms():
    """Against the closed form of least squares: covariance over variance."""
    losses = scattered(PowerLaw(0.3, 400.0, 0.6), 0.1, seed=0)
    x, y = np.log(SIZES), np.log(losses - 0.3)
    slope = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
    law = fit_power_law(SIZES, losses, 0.3)
    assert law.exponent == pytest.approx(-slope)
    assert math.log(law.scale) == pytest.approx(y.mean() - slope * x.mean())


def test_no_other_floor_is_closer_to_the_losses():
    losses = scattered(PowerLaw(0.8, 400.0, 0.6), 0.02, seed=1)

    def misfit(law: PowerLaw) -> float:
        return (np.log(law(SIZES) / losses) ** 2).sum()

    best = misfit(fit_power_law(SIZES, losses))
    assert all(
        misfit(fit_power_law(SIZES, losses, floor)) >= best - 1e-12
        for floor in np.linspace(0, losses.min(), FLOORS, endpoint=False)
    )


@pytest.mark.parametrize(
    ("x", "loss", "floor", "message"),
    [
        ([1], [2], 0.0, "needs runs at 2 different x"),
        ([1, 1], [2, 3], 0.0, "needs runs at 2 different x"),
        ([1, 2], [3, 2], None, "needs runs at 3 different x"),
        ([1, 2, 3], [3, 2], 0.0, "one loss for each"),
        ([], [], 0.0, "needs runs"),
        ([0, 1, 2], [3, 2, 1], None, "every x must be a number above 0"),
        ([-1, 1, 2], [3, 2, 1], 0.0, "every x must be a number above 0"),
        ([math.nan, 1, 2], [3, 2, 1], 0.0, "every x must be a number above 0"),
        ([1, 2, 3], [3, 2, 1], 1.0, "above 1, the floor"),
        ([1, 2, 3], [3, 2, 1], 1.5, r"above 1\.5, the floor"),
        ([1, 2, 3], [3, 2, -1], None, "above 0, the floor"),
        ([1, 2, 3], [3, 2, math.nan], None, "above 0, the floor"),
        ([1, 2, 3], [math.inf, 2, 1], None, "above 0, the floor"),
        ([1, 2, 3], [1, 2, 3], 0.0, "does not fall"),
        ([1, 2, 3], [2, 2, 2], 0.0, "does not fall"),
    ],
)
def test_runs_that_make_no_law_get_one_line(x, loss, floor, message):
    with pytest.raises(ValueError, match=message) as error:
        fit_power_law(x, loss, floor)
    assert "\n" not in str(error.value)


# Of size and text together

GRID = np.meshgrid(np.geomspace(1e4, 3e5, 6), np.geomspace(4e4, 7e5, 5))
N, D = (axis.ravel() for axis in GRID)
LAWS = [
    JointLaw(1.69, 406.4, 0.34, 410.7, 0.28),  # Hoffmann et al. (2022)
    JointLaw(0.3, 200.0, 0.5, 3000.0, 0.7),
    JointLaw(0.0, 400.0, 0.6, 410.0, 0.4),
]


def parts(law: JointLaw) -> tuple[float, ...]:
    return law.floor, law.size_scale, law.size_exponent, law.data_scale, law.data_exponent


def test_a_joint_law_is_that_of_the_paper():
    """Chinchilla itself, 70 billion parameters and 1.4 trillion tokens: 1.69 + 0.083 + 0.163."""
    assert LAWS[0](70e9, 1.4e12) == pytest.approx(1.69 + 406.4 / 70e9**0.34 + 410.7 / 1.4e12**0.28)
    assert LAWS[0](70e9, 1.4e12) == pytest.approx(1.937, abs=0.001)


@pytest.mark.parametrize("law", LAWS)
def test_an_exact_joint_law_is_found_again(law):
    assert parts(fit_joint_law(N, D, law(N, D))) == pytest.approx(parts(law), rel=1e-3)
    assert parts(fit_joint_law(N, D, law(N, D), law.floor)) == pytest.approx(parts(law), rel=1e-3)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("known", [False, True])
def test_no_minimum_of_scipys_is_closer_to_scattered_runs(law, known):
    """From several starts, each with all unknowns moving at once."""
    floor = law.floor if known else None
    losses = law(N, D) * np.exp(0.02 * np.random.default_rng(0).standard_normal(len(N)))

    def residuals(unknowns: np.ndarray) -> np.ndarray:
        E, A, alpha, B, beta = np.exp(unknowns)
        other = (E if floor is None else floor) + A * (N / 1e5) ** -alpha + B * (D / 1e5) ** -beta
        return other / losses - 1

    starts = [np.log([E, 0.3, alpha, 0.3, beta]) for E in (0.1, 1) for alpha in (0.3, 1) for beta in (0.3, 1)]
    best = min((least_squares(residuals, start) for start in starts), key=lambda found: found.cost)
    found = fit_joint_law(N, D, losses, floor)
    assert ((found(N, D) / losses - 1) ** 2).sum() == pytest.approx(2 * best.cost, rel=1e-3)
    assert (found.size_exponent, found.data_exponent) == pytest.approx(tuple(np.exp(best.x[[2, 4]])), abs=0.01)


def test_a_floor_that_would_be_negative_is_zero():
    assert fit_joint_law(N, D, LAWS[2](N, D) - 0.02).floor == 0


@pytest.mark.parametrize(
    ("change", "floor", "message"),
    [
        (lambda N, D, L: (N[:3], D[:3], L[:3]), None, "needs 3 sizes"),  # one number of tokens
        (lambda N, D, L: (N, D, L[:-1]), None, "one loss for each run"),
        (lambda N, D, L: (-N, D, L), None, "must be a number above 0"),
        (lambda N, D, L: (N, [np.nan, *D[1:]], L), None, "must be a number above 0"),
        (lambda N, D, L: (N, D, [np.inf, *L[1:]]), None, "must be a number above 0"),
        (lambda N, D, L: (N, D, L), 1.0, "above 1, the floor"),
    ],
)
def test_runs_that_make_no_joint_law_get_one_line(change, floor, message):
    with pytest.raises(ValueError, match=message) as error:
        fit_joint_law(*change(N, D, LAWS[1](N, D)), floor)
    assert "\n" not in str(error.value)
