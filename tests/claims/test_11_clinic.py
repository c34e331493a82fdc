"""What chapter 11 says of its probes, of a spoilt batch, and of a patient at a rate that suits it.

A seed draws the initial weights and the dropout. The articles and their order are the clinic's.
"""

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from evidence import SEEDS, TIMES, tuned

from tinyllm.course import clinic
from tinyllm.course.clinic.healthy import STEPS, Training
from tinyllm.course.exercises.ch11_clinic import probe_for
from tinyllm.probes.report import IGNORED

LENGTHS = {f"{STEPS * times} steps": STEPS * times for times in TIMES}
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


# The probes


@cache
def problems(bug: str | None, steps: int, seed: int) -> list[str]:
    return training(bug).train(steps, seed).diagnose().problems


def counted(count) -> dict[str, list[float]]:
    """What `count` makes of a length and a seed."""
    return {length: [float(count(steps, seed)) for seed in SEEDS] for length, steps in LENGTHS.items()}


@pytest.mark.claim("11.each_bug_is_found")
def test_each_bug_is_found_by_its_probe_and_a_healthy_training_has_none(evidence):
    found = counted(lambda *run: sum(probe_for(bug) in problems(bug, *run) for bug in clinic.BUGS))
    evidence.between("bugs that their own probe finds, of 12", found, 12, 12)
    evidence.between("findings in a healthy training", counted(lambda *run: len(problems(None, *run))), 0, 0)


# A spike


@dataclass(frozen=True)
class Spoilt(Training):
    """One batch among the good ones has its tokens in random order."""

    def batch(self, index: int) -> list:
        [(seen, targets)] = super().batch(index)
        if index == STEPS // 2:
            order = torch.randperm(seen.numel(), generator=torch.Generator().manual_seed(0))
            seen = seen.flatten()[order].view_as(seen)
            targets = F.pad(seen[:, 1:], (0, 1), value=IGNORED)
        return [(seen, targets)]


@cache
def end(run: Training, steps: int, seed: int) -> float:
    """The mean training loss of the last ten steps."""
    return sum(run.train(steps, seed).training[-10:]) / 10


@pytest.mark.claim("11.after_a_spike")
def test_a_run_comes_back_from_a_bad_batch_and_not_from_a_rate_too_high(evidence):
    bad, fast = Spoilt(), Training(rate=0.08)

    def apart(one: Training, other: Training) -> dict[str, list[float]]:
        return counted(lambda *run: end(one, *run) - end(other, *run))

    evidence.between("loss with one bad batch minus without", apart(bad, clinic.HEALTHY), -0.1, 0.1)
    evidence.larger("loss at a rate too high minus with one bad batch", apart(fast, bad))
