"""Monitoring a run: the same held-out text is scored at each measurement."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Int

from tinyllm.config import IGNORED, RunConfig
from tinyllm.evaluation import evaluate_articles
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.model.gpt import GPT
from tinyllm.system.precision import autocast
from tinyllm.text.articles import Article
from tinyllm.text.batches import Blocks
from tinyllm.text.prepared import PreparedData
from tinyllm.text.subword_tokenizer import SubWordTokenizer


class Monitor(Protocol):
    """Scores a model on held-out text."""

    def __call__(self, model: GPT) -> dict[str, Any]:
        """The measurement for the history: "validation_loss", in nats per token, and whatever else is known."""


class BlockMonitor:
    """Scores blocks like those of training, spread evenly over the held-out text."""

    def __init__(self, config: RunConfig, data: PreparedData, precision: torch.dtype):
        split = data.splits[data.watching]
        length = min(config.model.context_length, len(split.tokens) - 1)  # a short text may not fill a block
        blocks = Blocks(split, length, begin=config.dataset.block_begin, turns=data.turns)
        self.ids, self.targets = blocks.fixed(config.training.evaluation_blocks)
        if not (self.targets != IGNORED).any():
            raise ValueError(f"{config.dataset.data} has no answers to watch: is the role 'assistant' in its messages?")
        self.precision = precision

    def __call__(self, model: GPT) -> dict[str, Any]:
        return {"validation_loss": mean_loss(model, self.ids, self.targets, self.precision)}


class FloorMonitor:
    """Scores articles of known entropy, each from its own start, beside that entropy and by kind of token."""

    def __init__(self, articles: Sequence[Article], tokenizer: SubWordTokenizer):
        self.articles, self.tokenizer = articles, tokenizer

    def __call__(self, model: GPT) -> dict[str, Any]:
        result = evaluate_articles(model, self.tokenizer, self.articles)
        by_label = {label: part["nats"] / part["tokens"] for label, part in result.by_label.items()}
        return {"validation_loss": result.nats_per_token, "entropy_floor": result.floor, "by_label": by_label}


def make_monitor(config: RunConfig, data: PreparedData, precision: torch.dtype) -> Monitor:
    """The most precise monitor that the corpus allows."""
    articles = data.articles(data.watching)
    if articles and isinstance(data.tokenizer, SubWordTokenizer):  # the tokens of others have no kind
        return FloorMonitor(articles[: config.training.evaluation_blocks], data.tokenizer)
    return BlockMonitor(config, data, precision)


@torch.no_grad()
def mean_loss(
    model: GPT, ids: Int[np.ndarray, "N T"], targets: Int[np.ndarray, "N T"], precision: torch.dtype, rows: int = 8
) -> float:
    """Mean cross-entropy over the targets that count, in nats, without dropout; `rows` blocks at a time."""
    total, counts = 0.0, (targets != IGNORED).sum(axis=1)
    with evaluation_mode(model):
        for first in range(0, len(ids), rows):
            part = [torch.from_numpy(array[first : first + rows]).to(model.device) for array in (ids, targets)]
            with autocast(model.device, precision):
                loss = model(*part)
            total += loss.item() * int(counts[first : first + rows].sum())
    return total / int(counts.sum())
