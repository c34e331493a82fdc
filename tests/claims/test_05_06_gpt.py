"""What GPT's rung of the ladder scores, and what the recipe of chapter 06 is worth to it.

A seed draws the initial weights and picks the batches. Both sides of a pair have the same of both. Rates are tuned on a
seed and on text that judge no claim.
"""

import functools
import math

import pytest
import torch
from evidence import SEEDS, TIMES, Evidence, tuned
from torch import nn

from tinyllm import GPT, ModelConfig
from tinyllm.config import TrainingConfig
from tinyllm.course.ladder import ITERATIONS, Batch, CourseText, course_text
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.schedule import learning_rate

TUNING = 0  # the seed for it
LENGTHS = tuple(times * ITERATIONS for times in TIMES)
RATES = 0.003, 0.006  # of the table in chapter 06
Stops = tuple[int, ...]
Score = dict[str, float]


@functools.cache
def text() -> CourseText:
    return course_text()


def new_gpt(seed: int) -> GPT:
    """Chapter 05's model."""
    torch.manual_seed(seed)
    return GPT(
        ModelConfig(
            vocab_size=text().vocab_size,
            context_length=160,
            embedding_dim=128,
            num_layers=2,
            num_heads=4,
            feedforward_dim=512,
            dropout=0.0,
        )
    )


def batches(seed: int, steps: int) -> list[Batch]:
    first = seed * max(LENGTHS)
    return [text().batch(first + step) for step in range(steps)]


def train(model: GPT, steps: list[Batch], config: TrainingConfig, clip: float, stops: Stops) -> list[Score]:
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
def plain(rate: float, seed: int, stops: Stops = LENGTHS) -> list[Score]:
    """The scores after so many steps at one constant rate: the shorter run is the longer one's beginning."""
    config = TrainingConfig(max_learning_rate=rate, min_learning_rate=rate, warmup_iterations=0)
    return train(new_gpt(seed), batches(seed, max(stops)), config, math.inf, stops)


def plain_at_first(rate: float, seed: int) -> Score:
    """The score at the chapter's own length; a run that other tests need goes on to the second."""
    return plain(rate, seed, LENGTHS if rate in plain_rates() else LENGTHS[:1])[0]


@functools.cache
def recipe(rate: float, seed: int, steps: int) -> Score:
    """The score after so many steps with chapter 06's warm-up, cosine and clipping."""
    config = TrainingConfig(
        max_learning_rate=rate, min_learning_rate=rate / 40, warmup_iterations=steps // 20, max_iterations=steps
    )
    return train(new_gpt(seed), batches(seed, steps), config, 1.0, (steps,))[0]


@functools.cache
def plain_rates() -> list[float]:
    """The best constant rate for each length."""
    return [tuned(lambda rate, at=at: plain(rate, TUNING)[at]["held out"], RATES[0]) for at in range(len(LENGTHS))]


@functools.cache
def recipe_rates() -> list[float]:
    """The recipe's best highest rate for each length."""
    return [tuned(lambda rate, n=n: recipe(rate, TUNING, n)["held out"], RATES[1]) for n in LENGTHS]


def steps_of(values: list[list[float]]) -> dict[str, list[float]]:
    return {f"{steps} steps": numbers for steps, numbers in zip(LENGTHS, values, strict=True)}


def at_tuned_rates() -> tuple[list[list[float]], list[list[float]]]:
    """The scores of all seeds, plain and with the recipe, for each length."""
    plainly = [[plain(rate, seed)[at]["all"] for seed in SEEDS] for at, rate in enumerate(plain_rates())]
    with_recipe = [
        [recipe(rate, seed, steps)["all"] for seed in SEEDS]
        for rate, steps in zip(recipe_rates(), LENGTHS, strict=True)
    ]
    return plainly, with_recipe


def minus(ones: list[float], others: list[float]) -> list[float]:
    return [one - other for one, other in zip(ones, others, strict=True)]


@pytest.mark.claim("05.gpt_score")
def test_gpt_is_nearer_to_the_floor_than_to_the_forgetful_writer(evidence: Evidence):
    articles = text().articles
    scored = sum(len(text().tokenizer.encode(article.text)) + 1 for article in articles)
    floor, forgetful = (
        round(sum(nats) / scored, 2) for nats in zip(*((a.nats, a.forgetful_nats) for a in articles), strict=True)
    )
    rates = " and ".join(f"{rate:g}" for rate in plain_rates())
    scores, _ = at_tuned_rates()
    evidence.between(f"GPT's loss at its own rate ({rates})", steps_of(scores), floor, forgetful)


@pytest.mark.claim("06.recipe_at_its_own_rate")
def test_the_recipe_helps_where_each_has_its_own_rate(evidence: Evidence):
    plainly, with_recipe = at_tuned_rates()
    rates = [" and ".join(f"{rate:g}" for rate in rates()) for rates in (plain_rates, recipe_rates)]
    what = f"loss of plain AdamW (tuned rates {rates[0]}) minus with the recipe ({rates[1]})"
    evidence.larger(what, steps_of([minus(*pair) for pair in zip(plainly, with_recipe, strict=True)]))


@pytest.mark.claim("06.recipe_by_rate")
def test_whether_the_recipe_helps_depends_on_the_rate(evidence: Evidence):
    first = LENGTHS[0]
    low, high = (
        {f"{first} steps": [recipe(rate, seed, first)["all"] - plain_at_first(rate, seed)["all"] for seed in SEEDS]}
        for rate in RATES
    )
    evidence.larger(f"loss at a rate of {RATES[0]:g}: the recipe's minus plain AdamW's", low)
    gains = {steps: [-value for value in values] for steps, values in high.items()}
    evidence.larger(f"loss at a rate of {RATES[1]:g}: plain AdamW's minus the recipe's", gains)
