"""What GPT's rung of the ladder scores, and what the recipe of chapter 06 is worth to it.

A seed draws the initial weights and picks the batches. Both sides of a pair have the same of both. Rates are tuned for
the chapter's own length, on a seed and on text that judge no claim. Twice as many steps get the same rates: tuned on
one seed, 0.0015 won for the constant rate there by 0.01, and lost by 0.03 on the five seeds that judge.
"""

import functools
import math

import pytest
import torch
from evidence import SEEDS, TIMES, Evidence, tuned
from rungs import text, two_block_gpt, write
from torch import nn

from tinyllm import GPT
from tinyllm.config import TrainingConfig
from tinyllm.course.ladder import ITERATIONS, Batch, reference_lines
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.schedule import learning_rate

TUNING = 0  # the seed for it
LENGTHS = tuple(times * ITERATIONS for times in TIMES)
LOW, HIGH = 0.003, 0.006  # each best for one side
Score = dict[str, float]


def batches(seed: int, steps: int) -> list[Batch]:
    first = seed * max(LENGTHS)
    return [text().batch(first + step) for step in range(steps)]


# Runs


def train(model: GPT, steps: list[Batch], config: TrainingConfig, clip: float, stops: tuple[int, ...]) -> list[Score]:
    """One step for each batch; returns the scores after each number of steps in `stops`."""
    optimizer, scores = make_optimizer(model, config), []
    for step, (ids, targets) in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        model(ids, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        if step + 1 in stops:
            with torch.no_grad():
                held_out = model(*map(torch.from_numpy, text().held_out.fixed(64))).item()
            scores.append(text().score(model) | {"held out": held_out})
    return scores


@functools.cache
def plain(rate: float, seed: int, lengths: int = len(LENGTHS)) -> list[Score]:
    """The score at a constant rate for each length, or the first few: a shorter run is a longer one's beginning."""
    config = TrainingConfig(max_learning_rate=rate, min_learning_rate=rate, warmup_iterations=0)
    stops = LENGTHS[:lengths]
    return train(two_block_gpt(seed, 128), batches(seed, max(stops)), config, math.inf, stops)


@functools.cache
def recipe(rate: float, seed: int, steps: int) -> Score:
    """The score after so many steps with chapter 06's warm-up, cosine and clipping."""
    config = TrainingConfig(
        max_learning_rate=rate, min_learning_rate=rate / 40, warmup_iterations=steps // 20, max_iterations=steps
    )
    return train(two_block_gpt(seed, 128), batches(seed, steps), config, 1.0, (steps,))[0]


@functools.cache
def plain_rate() -> float:
    """The best constant rate."""
    return tuned(lambda rate: plain(rate, TUNING, 1)[0]["held out"], LOW)


@functools.cache
def recipe_rate() -> float:
    """The recipe's best highest rate."""
    return tuned(lambda rate: recipe(rate, TUNING, LENGTHS[0])["held out"], HIGH)


def plainly(rate: float) -> list[list[Score]]:
    """The scores of all seeds, for each length."""
    return [[plain(rate, seed)[length] for seed in SEEDS] for length in range(len(LENGTHS))]


def with_recipe(rate: float) -> list[list[Score]]:
    return [[recipe(rate, seed, steps) for seed in SEEDS] for steps in LENGTHS]


# What they show


def losses(scores: list[Score], kind: str = "all") -> list[float]:
    return [score[kind] for score in scores]


def minus(ones: list[Score], others: list[Score], kind: str = "all") -> list[float]:
    return [one - other for one, other in zip(losses(ones, kind), losses(others, kind), strict=True)]


def by_length(values: list[list[float]]) -> dict[str, list[float]]:
    return {f"{steps} steps": numbers for steps, numbers in zip(LENGTHS, values, strict=False)}


@pytest.mark.claim("05.gpt_score")
def test_gpt_lies_between_the_floor_and_the_forgetful_writer(evidence: Evidence):
    scores, lines = plainly(plain_rate()), reference_lines(text())
    write("GPT", plain_rate(), scores[0])
    floor, forgetful = (round(lines[name]["all"], 2) for name in ("floor", "forgetful writer"))
    what = f"GPT's loss at the best constant rate ({plain_rate():g})"
    evidence.between(what, by_length([*map(losses, scores)]), floor, forgetful)


@pytest.mark.claim("06.recipe_at_its_own_rate")
def test_the_recipe_helps_where_each_has_its_own_rate(evidence: Evidence):
    scores = with_recipe(recipe_rate())
    write("GPT + recipe", recipe_rate(), scores[0])
    what = f"loss at the best constant rate ({plain_rate():g}) minus with the recipe ({recipe_rate():g})"
    evidence.larger(what, by_length([*map(minus, plainly(plain_rate()), scores)]))


@pytest.mark.claim("06.recipe_by_kind")
def test_the_recipe_helps_with_choices_and_not_seen_with_recall(evidence: Evidence):
    pairs = list(zip(plainly(plain_rate()), with_recipe(recipe_rate()), strict=True))
    what = "at the best constant rate minus with the recipe at its best"
    evidence.larger(f"choice: loss {what}", by_length([minus(*pair, "choice") for pair in pairs]))
    evidence.alike(f"recall: loss {what}", by_length([minus(*pair, "recall") for pair in pairs]))


@pytest.mark.claim("06.recipe_by_rate")
def test_whether_the_recipe_helps_depends_on_the_rate(evidence: Evidence):
    what = f"loss with the recipe minus at a constant rate, both {LOW:g}"
    own, twice = by_length([*map(minus, with_recipe(LOW), plainly(LOW))]).items()
    evidence.larger(what, dict([own]))
    evidence.alike(what, dict([twice]))  # with more steps the low rate has the time that it needs
    what = f"loss at a constant rate minus with the recipe, both {HIGH:g}"
    evidence.larger(what, by_length([*map(minus, plainly(HIGH), with_recipe(HIGH))]))
