"""What warm-up and clipping buy at chapter 06's high rate.

A seed draws the initial weights and picks the text.
"""

import functools
import math

import pytest
import torch
from evidence import SEEDS, TIMES, Evidence
from rungs import text, two_block_gpt
from torch import nn

from tinyllm.config import TrainingConfig
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
