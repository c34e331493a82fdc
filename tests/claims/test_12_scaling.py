"""What chapter 12 says of its sweep over sizes and lengths, which it writes to figures/scaling.json, and of batches.

Seed 0 is for tuning: every model and length has a rate of its own, with worse ones on both sides.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from evidence import SEEDS, TIMES, rewrite, tuned

from tinyllm.course.exercises.ch12_scaling import noise_scale
from tinyllm.course.ladder import CourseText, course_text
from tinyllm.course.scaling_laws import JointLaw, fit_joint_law, fit_power_law
from tinyllm.course.scaling_runs import read, short_run, small_model
from tinyllm.evaluation import label_tokens

WIDTHS, WIDER, LONGER = (16, 24, 32, 48, 64), 96, 32
BLOCKS, TOKENS = (128, 256, 512, 1024), 160  # the sweep's lengths, and the tokens of a block
LENGTHS = {f"up to {TOKENS * BLOCKS[-1] * times:,} tokens": times for times in TIMES}
TUNING = 0  # the seed
DATA = Path(__file__).parents[2] / "figures" / "scaling.json"


@cache
def text() -> CourseText:
    return course_text()


@cache
def result(width: int, blocks: int, rate: float, seed: int) -> dict[str, float]:
    return short_run(small_model(text(), width, seed), text(), blocks, 2, rate, seed=seed)


@cache
def rate(width: int, blocks: int) -> float:
    return tuned(lambda rate: result(width, blocks, rate, TUNING)["all"], 0.02)


def nats(width: int, blocks: int, seed: int) -> dict[str, float]:
    """The loss at the cell's own rate: over all tokens, by kind, and over all but the recalled ones."""
    found = result(width, blocks, rate(width, blocks), seed)
    share = recalled()
    return found | {"others": (found["all"] - share * found["recall"]) / (1 - share)}


def loss(width: int, blocks: int, seed: int) -> float:
    return nats(width, blocks, seed)["all"]


@cache
def recalled() -> float:
    """The share of the scored tokens that are recalled."""
    tokenizer, articles = text().tokenizer, text().articles
    kinds = [kind for article in articles for kind in label_tokens(article, tokenizer, tokenizer.encode(article.text))]
    return kinds.count("recall") / (len(kinds) + len(articles))  # and a separator after each


@cache
def weights(width: int) -> int:
    return sum(parameter.numel() for parameter in small_model(text(), width).parameters())


@cache
def law(times: int, seed: int, kind: str = "all") -> JointLaw:
    """The law of one seed's sweep: 5 sizes, 4 lengths, these `times` as long."""
    return fit_joint_law(*cells(times), losses(times, seed, kind))


def cells(times: int) -> tuple[np.ndarray, np.ndarray]:
    """The weights and the tokens of each run of a sweep."""
    size, blocks = np.meshgrid([weights(width) for width in WIDTHS], [times * length for length in BLOCKS])
    return size.ravel().astype(float), TOKENS * blocks.ravel().astype(float)


def losses(times: int, seed: int, kind: str = "all") -> list[float]:
    return [nats(width, times * length, seed)[kind] for length in BLOCKS for width in WIDTHS]


def by_seed(measure):
    """One number a seed, for each length of the sweep; `measure` is a function of `times` and the seed."""
    return {length: [measure(times, seed) for seed in SEEDS] for length, times in LENGTHS.items()}


# The law


@pytest.mark.claim("12.law_fits")
def test_the_law_comes_near_the_runs_that_it_was_fitted_to(evidence):
    keep()

    def misfit(times: int, seed: int) -> float:
        return float(np.sqrt(np.mean((losses(times, seed) / law(times, seed)(*cells(times)) - 1) ** 2)))

    evidence.between("root mean square of loss / law - 1", by_seed(misfit), 0, 0.08)


@pytest.mark.claim("12.floor_of_one_length")
def test_the_floor_fitted_to_sizes_alone_falls_with_the_length(evidence):
    size = [weights(width) for width in WIDTHS]

    def floor(blocks: int, seed: int) -> float:
        return fit_power_law(size, [loss(width, blocks, seed) for width in WIDTHS]).floor

    fall = by_seed(lambda times, seed: floor(times * BLOCKS[0], seed) - floor(4 * times * BLOCKS[0], seed))
    evidence.larger("floor fitted at the shortest length minus at four times as many tokens", fall)


@pytest.mark.claim("12.fitted_floor")
def test_the_fitted_floor_is_below_the_text_s_own(evidence):
    scored = sum(len(text().tokenizer.encode(article.text)) + 1 for article in text().articles)
    floor = sum(article.nats for article in text().articles) / scored
    evidence.larger("the text's own floor minus the fitted one", by_seed(lambda *which: floor - law(*which).floor))


@pytest.mark.claim("12.exponents")
def test_the_exponents_of_size_and_of_text_are_larger_than_chinchilla_s(evidence):
    evidence.between("alpha, of size", by_seed(lambda *which: law(*which).size_exponent), 0.35, 1.2)
    evidence.between("beta, of text", by_seed(lambda *which: law(*which).data_exponent), 0.37, 1.2)


# Its predictions


# A model wider than all of a sweep, and a run twice as long as its longest.
OUTSIDE = {f"{WIDER} wide": (WIDER, BLOCKS[-1]), f"{LONGER} wide, twice the tokens": (LONGER, 2 * BLOCKS[-1])}


def outside(name: str, measure, kind: str = "all") -> dict[str, list[float]]:
    """`measure` of the loss predicted and the one measured, for each seed: of the sweep, and the one twice as long."""
    width, blocks = OUTSIDE[name]

    def told(times: int, seed: int) -> float:
        measured = nats(width, times * blocks, seed)[kind]
        return measure(law(times, seed, kind)(weights(width), TOKENS * times * blocks), measured)

    return {f"{TOKENS * times * blocks:,} tokens": [told(times, seed) for seed in SEEDS] for times in TIMES}


@pytest.mark.claim("12.larger_model")
def test_a_larger_model_is_better_than_the_law_says(evidence):
    name = f"{WIDER} wide"
    evidence.larger(f"{name}: loss by the law minus measured", outside(name, lambda law, found: law - found))


@pytest.mark.claim("12.longer_run")
def test_a_longer_run_is_better_than_the_law_says_where_the_sweep_is_short(evidence):
    name = f"{LONGER} wide, twice the tokens"
    own, twice = outside(name, lambda law, found: law - found).items()
    evidence.larger(f"{name}: loss by the law minus measured", dict([own]))
    evidence.alike(f"{name}: loss by the law minus measured", dict([twice]))  # there recall was learned in the sweep


@pytest.mark.claim("12.without_recall")
def test_without_the_recalled_tokens_the_law_predicts_both(evidence):
    """Within a fifth, as the chapter asserts of its own two runs."""
    for name in OUTSIDE:
        off = outside(name, lambda law, found: found / law - 1, "others")
        evidence.between(f"{name}, other tokens than recalled: measured / predicted - 1", off, -0.2, 0.2)


@pytest.mark.claim("12.equal_flops")
def test_at_equal_arithmetic_a_middle_size_is_best(evidence):
    lengths = {f"{TOKENS * BLOCKS[2] * times:,} tokens for {WIDTHS[0]} wide": BLOCKS[2] * times for times in TIMES}
    for other in (8, 48):
        worse = {
            length: [loss(other, equal_work(other, blocks), seed) - loss(WIDTHS[0], blocks, seed) for seed in SEEDS]
            for length, blocks in lengths.items()
        }
        evidence.larger(f"at equal size x tokens: loss {other} wide minus {WIDTHS[0]} wide", worse)


def equal_work(width: int, blocks: int) -> int:
    """The blocks, an even number, at which size x tokens is that of the narrowest model of the sweep at `blocks`."""
    return 2 * round(weights(WIDTHS[0]) * blocks / weights(width) / 2)


# Batches

BATCH_BLOCKS = {f"{160 * 512 * times:,} tokens": 512 * times for times in TIMES}


@cache
def by_batch(blocks: int, batch: int, rate: float, seed: int) -> float:
    return short_run(small_model(text(), 16, seed), text(), blocks, batch, rate, "adamw", seed)["all"]


@pytest.mark.claim("12.small_batches")
def test_with_equal_tokens_small_batches_win(evidence):
    @cache
    def own_rate(blocks: int, batch: int) -> float:
        return tuned(lambda rate: by_batch(blocks, batch, rate, TUNING), 0.04)

    for small, large in ((2, 8), (8, 32)):
        lost = {
            length: [
                by_batch(blocks, large, own_rate(blocks, large), seed)
                - by_batch(blocks, small, own_rate(blocks, small), seed)
                for seed in SEEDS
            ]
            for length, blocks in BATCH_BLOCKS.items()
        }
        evidence.larger(f"loss with batches of {large} minus with {small}", lost)


@cache
def gradients(steps: int, seed: int) -> torch.Tensor:
    """Of 32 batches of 8 blocks, (32, parameters), in a model trained for so many steps."""
    model = small_model(text(), 16, seed)
    short_run(model, text(), 8 * steps, 8, 0.04, "adamw", seed)
    found = []
    for index in range(32):
        model.zero_grad()
        model(*read(text(), 8 * (steps + index), 8, seed)).backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    return torch.stack(found)


@cache
def scale(steps: int, seed: int) -> float:
    parts = gradients(steps, seed)
    small, large = parts.square().sum(1).mean().item(), parts.mean(0).square().sum().item()
    return noise_scale(small, large, 8, 256)


STEPS = {f"{50 * times} steps": 50 * times for times in TIMES}


def noise(measure):
    return {length: [measure(steps, seed) for seed in SEEDS] for length, steps in STEPS.items()}


@pytest.mark.claim("12.noise_scale")
def test_the_noise_scale_is_some_blocks_and_grows(evidence):
    evidence.between("noise scale in blocks", noise(scale), 2, 80)
    grown = noise(lambda steps, seed: scale(2 * steps, seed) - scale(steps, seed))
    evidence.larger("noise scale after twice the steps minus before", grown)


# What is kept for the notebook


def keep() -> None:
    """Write the runs of the sweep, one a line, for the notebook to fit and draw."""
    about = (
        "Runs of tinyllm.course.scaling_runs on TinyWiki, written by tests/claims/test_12_scaling.py: batches of 2 "
        "blocks of 160 tokens; for each width and length the rate that was best on seed 0, with worse ones on both "
        "sides. nats is the loss per token of the test articles, over all tokens and by kind."
    )
    runs = [
        {
            "width": width,
            "weights": weights(width),
            "tokens": TOKENS * blocks,
            "seed": seed,
            "rate": rate(width, blocks),
            "nats": {kind: round(nats, 4) for kind, nats in result(width, blocks, rate(width, blocks), seed).items()},
        }
        for seed in SEEDS
        for blocks in sorted({times * length for times in TIMES for length in BLOCKS})
        for width in WIDTHS
    ]
    lines = ",\n".join(f"  {json.dumps(run)}" for run in runs)
    rewrite(DATA, lambda _: f'{{\n "about": {json.dumps(about)},\n "runs": [\n{lines}\n ]\n}}\n')
