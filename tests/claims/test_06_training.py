"""What ingredients of chapter 06's recipe buy, and that a model overfits a few articles.

A seed draws the initial weights and picks the text. Each recipe's rate is tuned on two of the seeds.
"""

import functools
import math
import statistics

import pytest
import torch
from evidence import SEEDS, TIMES, Evidence, tuned
from rungs import text
from torch import nn

from tinyllm import GPT, ModelConfig, evaluate_articles
from tinyllm.config import TrainingConfig
from tinyllm.text import tinywiki
from tinyllm.training.schedule import learning_rate

HIGH = 0.02  # the chapter's rate, "rather high on purpose"
LENGTHS = [times * 100 for times in TIMES]
START = {"AdamW": 0.25}  # where the search for SGD's rate begins; all others begin with half of HIGH


def small_gpt(seed: int) -> GPT:
    """Chapter 06's model."""
    torch.manual_seed(seed)
    return GPT(
        ModelConfig(
            vocab_size=text().vocab_size,
            context_length=160,
            embedding_dim=64,
            num_layers=2,
            num_heads=4,
            feedforward_dim=256,
            dropout=0.0,
        )
    )


@functools.cache
def ingredient(without: str, rate: float, seed: int, steps: int) -> float:
    """The mean loss of the last ten steps, of 4 blocks each, with the recipe but for one ingredient."""
    model = small_gpt(seed)
    config = TrainingConfig(
        max_iterations=steps,
        max_learning_rate=rate,
        min_learning_rate=rate / 10,
        warmup_iterations=0 if without == "warm-up" else steps // 10,
    )
    if without == "AdamW":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    else:
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


@functools.cache
def best_rate(without: str, steps: int) -> float:
    def mean_loss(rate: float) -> float:
        return statistics.mean(ingredient(without, rate, seed, steps) for seed in SEEDS[:2])

    return tuned(mean_loss, START.get(without, HIGH / 2))


def cost(without: str, rate: float | None = None) -> dict[str, list[float]]:
    """How much higher the loss ends without an ingredient, by seed; both at `rate`, or each at its best."""
    return {
        f"{steps} steps": [
            ingredient(without, rate or best_rate(without, steps), seed, steps)
            - ingredient("nothing", rate or best_rate("nothing", steps), seed, steps)
            for seed in SEEDS
        ]
        for steps in LENGTHS
    }


@pytest.mark.claim("06.warm_up_and_clipping")
def test_warm_up_and_clipping_make_a_high_rate_possible(evidence: Evidence):
    for without in ("warm-up", "clipping"):
        what = f"loss without {without} minus with everything, both at a rate of {HIGH:g}"
        evidence.larger(what, cost(without, HIGH))


@functools.cache
def overfit(seed: int, steps: int) -> tuple[float, float]:
    """After training on twelve articles: how far below their floor they are, and twelve others above their lowest."""
    model, tokenizer, twelve = small_gpt(seed), text().tokenizer, slice(12 * seed, 12 * seed + 12)
    few, others = (tinywiki.articles(split)[twelve] for split in ("train", "test"))
    end = tokenizer.end_of_text_id
    rows = [torch.tensor([end, *tokenizer.encode(article.text), end]) for article in few]
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
    optimizer, unseen = torch.optim.AdamW(model.parameters(), lr=0.005), []
    for step in range(steps + 1):
        if step % 10 == 0:
            unseen.append(evaluate_articles(model, tokenizer, others).nats_per_token)
        model(padded[:, :-1], padded[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
    seen = evaluate_articles(model, tokenizer, few)
    return seen.floor - seen.nats_per_token, unseen[-1] - min(unseen)
