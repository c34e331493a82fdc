"""What chapter 06 says of its high rate, of warm-up and clipping there, and of a few articles read again and again.

A seed draws the initial weights and picks the text.
"""

import functools
import math

import pytest
import torch
from evidence import SEEDS, TIMES, Evidence
from rungs import text, two_block_gpt
from torch import nn

from tinyllm import evaluate_articles
from tinyllm.config import TrainingConfig
from tinyllm.text import tinywiki
from tinyllm.training.schedule import learning_rate

HIGH = 0.02  # the chapter's rate, "rather high on purpose"
LENGTHS = [times * 100 for times in TIMES]


@functools.cache
def ingredient(without: str, rate: float, seed: int, steps: int) -> float:
    """The mean loss of the last ten steps, of 4 blocks each, with the recipe but for one ingredient."""
    model = two_block_gpt(seed, 64)
    config = TrainingConfig(
        max_iterations=steps,
        max_learning_rate=rate,
        min_learning_rate=rate / 10,
        warmup_iterations=0 if without == "warm-up" else steps // 10,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step, config)
        ids, targets = text().batch(seed * max(LENGTHS) + step)
        loss = model(ids[:4], targets[:4])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), math.inf if without == "clipping" else 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return sum(losses[-10:]) / 10


def cost(without: str) -> dict[str, list[float]]:
    """How much higher the loss ends without an ingredient, by seed, both at the rate HIGH."""
    return {
        f"{steps} steps": [
            ingredient(without, HIGH, seed, steps) - ingredient("nothing", HIGH, seed, steps) for seed in SEEDS
        ]
        for steps in LENGTHS
    }


@pytest.mark.claim("06.warm_up_and_clipping")
def test_warm_up_and_clipping_make_a_high_rate_possible(evidence: Evidence):
    for without in ("warm-up", "clipping"):
        what = f"loss without {without} minus with everything, both at a rate of {HIGH:g}"
        evidence.larger(what, cost(without))


@pytest.mark.claim("06.ten_times_the_rate")
def test_ten_times_the_rate_is_worse_than_no_warm_up_and_no_clipping(evidence: Evidence):
    for without in ("warm-up", "clipping"):
        worse = {
            f"{steps} steps": [
                ingredient("nothing", 10 * HIGH, seed, steps) - ingredient(without, HIGH, seed, steps) for seed in SEEDS
            ]
            for steps in LENGTHS
        }
        evidence.larger(f"loss with everything at a rate of {10 * HIGH:g} minus without {without} at {HIGH:g}", worse)


# Twelve articles


@functools.cache
def overfit(seed: int, steps: int) -> tuple[float, float]:
    """How far the loss ends below the floor of the twelve articles read, and above its lowest on twelve others."""
    model, tokenizer = two_block_gpt(seed, 64), text().tokenizer
    articles = list(tinywiki.generate(24, seed=seed))
    few, others = articles[:12], articles[12:]
    end = tokenizer.end_of_text_id
    rows = [torch.tensor([end, *tokenizer.encode(article.text), end]) for article in few]
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
    optimizer, unseen = torch.optim.AdamW(model.parameters(), lr=0.005), []
    for step in range(steps + 1):
        if step % 10 == 0:
            unseen.append(evaluate_articles(model, tokenizer, others).nats_per_token)
        optimizer.zero_grad()
        model(padded[:, :-1], padded[:, 1:]).backward()
        optimizer.step()
    seen = evaluate_articles(model, tokenizer, few)
    return seen.floor - seen.nats_per_token, unseen[-1] - min(unseen)


@pytest.mark.claim("06.overfitting")
def test_a_few_articles_are_learned_by_heart_at_the_cost_of_others(evidence: Evidence):
    runs = {f"{steps} steps": [overfit(seed, steps) for seed in SEEDS] for steps in (80 * times for times in TIMES)}
    own, others = ({length: [run[part] for run in found] for length, found in runs.items()} for part in (0, 1))
    evidence.larger("floor minus loss on the twelve articles", own)
    evidence.between("loss on twelve others minus its lowest", others, 0.3, 2)
