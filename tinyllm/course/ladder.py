"""The course's ladder: small models, each with one idea more than the last, trained alike and compared.

Chapters 02 to 06 each end with `short_run` and one more bar in the same chart. The runs are short on purpose: they
show what an idea buys in the same 400 steps, not how far it gets.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyllm.config import TrainingConfig
from tinyllm.evaluation import label_tokens
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.presets import get_preset
from tinyllm.system.cache import home
from tinyllm.system.files import read_json, replace_text
from tinyllm.text.articles import LABELS, Article
from tinyllm.text.batches import Blocks
from tinyllm.text.holdout import HELD_OUT
from tinyllm.text.prepared import prepare
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.schedule import learning_rate

ITERATIONS, BATCH_SIZE = 400, 8
ARTICLES = 64  # how many test articles score a model


@dataclass(frozen=True)
class CourseText:
    """A text as blocks to train on, and a way to score a model on what it never saw."""

    name: str
    tokenizer: Tokenizer
    blocks: Blocks
    held_out: Blocks
    articles: Sequence[Article]
    """Test articles of known entropy; none for other text."""

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    def batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """The ids and targets of one step, each (B, T)."""
        ids, targets = self.blocks.batch(iteration * BATCH_SIZE, BATCH_SIZE)
        return torch.from_numpy(ids), torch.from_numpy(np.ascontiguousarray(targets))

    @torch.no_grad()
    def score(self, model: nn.Module) -> dict[str, float]:
        """Nats per token: "all"; for articles of known entropy also each kind of token, read from the article's start."""
        with evaluation_mode(model):
            if not self.articles:
                ids, targets = map(torch.from_numpy, self.held_out.fixed(ARTICLES))
                return {"all": F.cross_entropy(model(ids).flatten(0, 1), targets.flatten()).item()}
            kinds, nats = self._surprises(model)
        return {"all": float(nats.mean())} | {kind: float(nats[kinds == kind].mean()) for kind in LABELS}

    def _surprises(self, model: nn.Module) -> tuple[np.ndarray, np.ndarray]:
        """The kind and the surprise of each token of the test articles."""
        kinds, nats = [], []
        end = self.tokenizer.end_of_text_id
        for article in self.articles:
            ids = self.tokenizer.encode(article.text)
            stream = torch.tensor([end, *ids, end])
            nats += F.cross_entropy(model(stream[None, :-1])[0], stream[1:], reduction="none").tolist()
            kinds += [*label_tokens(article, self.tokenizer, ids), "grammar"]
        return np.array(kinds), np.array(nats)


def course_text(data: str = "tinywiki") -> CourseText:
    """TinyWiki as the quickstart prepares it, or your own text: `data` is a file or folder, as in `train`."""
    preset = get_preset("quickstart").replace(data=data)
    prepared = prepare(preset.dataset, preset.model.vocab_size, progress=False)
    T, begin = preset.model.context_length, preset.dataset.block_begin
    blocks = {split: Blocks(prepared.splits[split], T, begin=begin) for split in ("train", HELD_OUT)}
    articles = prepared.articles("test")[:ARTICLES]
    return CourseText(data, prepared.tokenizer, blocks["train"], blocks[HELD_OUT], articles)


class CausalAverage(nn.Module):
    """Each token adds the plain mean of the tokens up to itself to its own vector. Nothing is learned here."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        count = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]  # (T, 1)
        return x + x.cumsum(dim=1) / count


class SmallModel(nn.Module):
    """Token embedding, one piece that turns (B, T, C) into (B, T, C), and a head: ids (B, T) -> logits (B, T, V)."""

    def __init__(self, vocab_size: int, embedding_dim: int, piece: nn.Module):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim)
        nn.init.normal_(self.token_embedding.weight, std=0.5)
        self.piece = piece
        self.head = nn.Linear(embedding_dim, vocab_size)

    def forward(self, token_ids: Tensor) -> Tensor:
        return self.head(self.piece(self.token_embedding(token_ids)))


def short_run(
    model: nn.Module, text: CourseText, max_learning_rate: float, name: str = "", recipe: bool = False
) -> dict[str, float]:
    """Train any model of ids (B, T) -> logits (B, T, V) for 400 steps; returns `text.score` of it.

    The rate is constant and nothing is clipped; with `recipe` it warms up and falls along a cosine, and gradients are
    clipped, as in `train`. With a `name` the result is remembered for later chapters, under TINYLLM_HOME.
    """
    config = TrainingConfig(
        max_iterations=ITERATIONS,
        max_learning_rate=max_learning_rate,
        min_learning_rate=max_learning_rate / 40,
        warmup_iterations=ITERATIONS // 20,
    )
    optimizer = make_optimizer(model, config)
    model.train()
    for iteration in range(ITERATIONS):
        ids, targets = text.batch(iteration)
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        loss.backward()
        if recipe:
            nn.utils.clip_grad_norm_(model.parameters(), config.max_gradient_norm)
            rate = learning_rate(iteration, config)
            for group in optimizer.param_groups:
                group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    result = text.score(model)
    if name and text.name == "tinywiki":
        _remember(name, result)
    return result


def remembered() -> dict[str, dict[str, float]]:
    """The results of the chapters that were run on this machine, oldest first."""
    try:
        return read_json(home() / "ladder.json")
    except (OSError, ValueError):  # none yet, or not readable: then the chart has fewer bars
        return {}


def _remember(name: str, result: dict[str, float]) -> None:
    with contextlib.suppress(OSError):  # a full or read-only disk must not keep a learner from the result
        replace_text(home() / "ladder.json", json.dumps(remembered() | {name: result}))
