"""What chapter 11 says of a patient, beside the healthy training, each at a rate that suits it."""

from dataclasses import replace
from functools import cache

import pytest
from evidence import SEEDS, TIMES, tuned

from tinyllm.course import clinic
from tinyllm.course.clinic.healthy import STEPS, Training

LENGTHS = {f"{STEPS * times} steps": STEPS * times for times in TIMES}
PATIENTS = list(clinic.BUGS)
TUNING_SEED = 11


def training(bug: str | None) -> Training:
    return clinic.BUGS[bug] if bug else clinic.HEALTHY


@cache
def held_out(bug: str | None, steps: int, seed: int, rate: float) -> float:
    return replace(training(bug), rate=rate).train(steps, seed).held_out[-1]


@cache
def best_rate(bug: str | None, steps: int) -> float:
    return tuned(lambda rate: held_out(bug, steps, TUNING_SEED, rate), training(bug).rate)


def tuned_loss(bug: str | None, steps: int, seed: int) -> float:
    return held_out(bug, steps, seed, best_rate(bug, steps))


def worse_by(bug: str) -> dict[str, list[float]]:
    """The patient's held-out loss minus the healthy one, each at its best rate, for each length and seed."""
    return {
        length: [tuned_loss(bug, steps, seed) - tuned_loss(None, steps, seed) for seed in SEEDS]
        for length, steps in LENGTHS.items()
    }


@pytest.mark.claim("11.scaling_is_worth_it")
def test_attention_that_is_not_scaled_is_worse_at_its_own_best_rate_too(evidence):
    evidence.larger("held-out nats, scores not scaled minus scaled", worse_by("attention not scaled"))
