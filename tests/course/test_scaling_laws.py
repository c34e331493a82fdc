"""Scaling laws: exact ones are found again, and a band contains as many new runs as it says."""

import math

import numpy as np
import pytest
import scipy.stats

from tinyllm.course.scaling_laws import FLOORS, PowerLaw, fit_power_law, prediction_band

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


def test_with_a_known_floor_the_band_is_the_prediction_interval_of_linear_regression():
    """Against its closed form, with Student's t, for what lies above the floor."""
    losses = scattered(PowerLaw(0.3, 400.0, 0.6), 0.05, seed=2)
    x, y, n = np.log(SIZES), np.log(losses - 0.3), len(SIZES)
    line = scipy.stats.linregress(x, y)
    spread = np.sqrt(((y - line.intercept - line.slope * x) ** 2).sum() / (n - 2))
    for at in (2e5, 1e7, 1e9):
        far = (np.log(at) - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
        half = scipy.stats.t.ppf(0.95, n - 2) * spread * np.sqrt(1 + 1 / n + far)
        middle = line.intercept + line.slope * np.log(at)
        band = prediction_band(SIZES, losses, at, 0.3, draws=5000)
        assert np.log(np.array(band) - 0.3) == pytest.approx([middle - half, middle + half], abs=0.12 * half)


@pytest.mark.parametrize("runs", [5, 8])
def test_with_an_unknown_floor_a_band_holds_about_the_share_of_new_runs_that_it_says(runs):
    """Many worlds with the same law and new scatter: how often does the next run lie in the band of the others?"""
    true, sizes, worlds = PowerLaw(0.3, 100.0, 0.5), np.geomspace(1e4, 3e5, runs), 200
    inside = 0
    for seed in range(worlds):
        *losses, found = scattered(true, 0.03, seed, np.array([*sizes, 6e5]))
        lower, upper = prediction_band(sizes, losses, 6e5, draws=100)
        inside += lower < found < upper
    assert 0.8 < inside / worlds < 0.97


def test_a_band_for_a_larger_share_is_wider():
    losses = scattered(PowerLaw(0.3, 400.0, 0.6), 0.02, seed=2)
    half, most = (prediction_band(SIZES, losses, 1e7, share=share) for share in (0.5, 0.9))
    assert most[0] < half[0] < half[1] < most[1]


def test_a_band_around_an_exact_law_is_a_line_and_is_the_same_each_time():
    losses = PowerLaw(0.3, 400.0, 0.6)(SIZES)
    assert prediction_band(SIZES, losses, 1e7, 0.3) == pytest.approx([PowerLaw(0.3, 400.0, 0.6)(1e7)] * 2)
    losses = scattered(PowerLaw(0.3, 400.0, 0.6), 0.05, seed=3)
    assert prediction_band(SIZES, losses, 1e7) == prediction_band(SIZES, losses, 1e7)
    assert prediction_band(SIZES, losses, 1e7) != prediction_band(SIZES, losses, 1e7, seed=1)


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
    for call in (lambda: fit_power_law(x, loss, floor), lambda: prediction_band(x, loss, 10.0, floor)):
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_a_band_needs_a_run_more_than_the_law_has_unknowns():
    for runs, floor in ((2, 0.0), (3, None)):
        with pytest.raises(ValueError, match="more runs than the law has unknowns"):
            prediction_band([1.0, 2.0, 4.0][:runs], [3.0, 2.0, 1.5][:runs], 8.0, floor)
    lower, upper = prediction_band([1.0, 2.0, 4.0], [3.0, 2.0, 1.5], 8.0, 0.0)
    assert lower < upper
