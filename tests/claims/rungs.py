"""The rungs of the ladder for other seeds, run lengths and rates; each run is made once for all claims.

A seed has its own first weights and its own batches. Rates are tuned on seed 0, by the loss on held-out blocks: neither
this seed nor this text is used to judge a claim.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from evidence import SEEDS, TIMES, rewrite, tuned
from torch import nn

from tinyllm import GPT, CausalSelfAttention, ModelConfig, TransformerBlock
from tinyllm.course.ladder import ITERATIONS, Batch, CourseText, SmallModel, course_text, plain
from tinyllm.text.articles import LABELS

KEPT = Path(__file__).parents[2] / "figures" / "ladder.json"
ORDER = ("bigram", "averaging", "attention", "block", "GPT", "GPT + recipe")


class Add(nn.Module):
    """x + layer(x)."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layer(x)


class Average(nn.Module):
    """The mean of the vectors so far, (B, T, C) -> (B, T, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(dim=1) / torch.arange(1, x.shape[1] + 1)[:, None]


@dataclass(frozen=True)
class Rung:
    """A model of the ladder, how it is trained, and the rate at which its chapter trains it."""

    build: Callable[[CourseText], nn.Module]
    learning_rate: float
    train: Callable[[nn.Module, list[Batch], float], object] = plain


WIDTH = ModelConfig(
    vocab_size=1024, context_length=160, embedding_dim=128, num_layers=1, num_heads=4, feedforward_dim=512, dropout=0.0
)


def bigram(text: CourseText) -> nn.Module:
    table = nn.Embedding(text.vocab_size, text.vocab_size)
    nn.init.zeros_(table.weight)
    return table


def averaging(text: CourseText) -> nn.Module:
    return SmallModel(text.vocab_size, 128, Add(Average()))


def attention(text: CourseText) -> nn.Module:
    return SmallModel(text.vocab_size, 128, Add(CausalSelfAttention(WIDTH)))


def block(text: CourseText) -> nn.Module:
    return SmallModel(text.vocab_size, 128, nn.Sequential(TransformerBlock(WIDTH), nn.LayerNorm(128)))


RUNGS = {
    "bigram": Rung(bigram, 0.1),
    "averaging": Rung(averaging, 0.02),
    "attention": Rung(attention, 0.01),
    "block": Rung(block, 0.005),
}


@cache
def text() -> CourseText:
    return course_text()


def two_block_gpt(seed: int, width: int) -> GPT:
    """The GPT of chapter 05, 128 wide, and the small one of chapter 06, 64 wide."""
    torch.manual_seed(seed)
    return GPT(
        ModelConfig(
            vocab_size=text().vocab_size,
            context_length=160,
            embedding_dim=width,
            num_layers=2,
            num_heads=4,
            feedforward_dim=4 * width,
            dropout=0.0,
        )
    )


def steps(times: int) -> str:
    """How a length is named in results.md."""
    return f"{times * ITERATIONS} steps"


def train(name: str, seed: int, times: int, learning_rate: float) -> nn.Module:
    """The rung `name` after `times` as many steps as in its chapter."""
    torch.manual_seed(seed)
    model = RUNGS[name].build(text())
    first = seed * max(TIMES) * ITERATIONS
    batches = [text().batch(first + iteration) for iteration in range(times * ITERATIONS)]
    RUNGS[name].train(model, batches, learning_rate)
    return model.eval()


@cache
def rate(name: str, times: int = 1) -> float:
    """The best learning rate of a rung for this length."""
    ids, targets = map(torch.from_numpy, text().held_out.fixed(64))

    @torch.no_grad()
    def held_out(model: nn.Module) -> float:
        return F.cross_entropy(model(ids).flatten(0, 1), targets.flatten()).item()

    start = RUNGS[name].learning_rate if times == 1 else rate(name)
    return tuned(lambda learning_rate: held_out(train(name, 0, times, learning_rate)), start)


@cache
def trained(name: str, seed: int, times: int = 1) -> nn.Module:
    """A rung at its best rate."""
    return train(name, seed, times, rate(name, times))


@cache
def scores(name: str, times: int = 1) -> list[dict[str, float]]:
    """What a rung scores, in all and by kind of token: one result a seed."""
    return [text().score(trained(name, seed, times)) for seed in SEEDS]


def paired(one: str, other: str, kind: str) -> dict[str, list[float]]:
    """The loss of `one` minus that of `other` on this kind of token, seed by seed, at each length."""
    return {
        steps(times): [a[kind] - b[kind] for a, b in zip(scores(one, times), scores(other, times), strict=True)]
        for times in TIMES
    }


def keep(name: str) -> None:
    """Write the scores of a rung into figures/ladder.json, for the charts."""
    write(name, rate(name), scores(name))


def write(name: str, learning_rate: float, scores: list[dict[str, float]]) -> None:
    """Write these into figures/ladder.json; the rungs stay in the ladder's order."""
    measured = {kind: [round(score[kind], 4) for score in scores] for kind in ("all", *LABELS)}

    def with_this_rung(text: str) -> str:
        kept = json.loads(text or "{}") | {name: {"learning_rate": learning_rate, "nats": measured}}
        return json.dumps({rung: kept[rung] for rung in ORDER if rung in kept}, indent=1) + "\n"

    rewrite(KEPT, with_this_rung)
