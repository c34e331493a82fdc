"""The bug clinic: small trainings on TinyWiki, each with one real bug, for chapter 11.

The trainings are written as they are found in other people's notebooks: a model, a step and a batch, which fit in one
screen each. `HEALTHY` is right; every patient replaces one piece of it. Patients go by number, so that a notebook can
show one without naming what is wrong. Do not read on if you want to find out for yourself.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyllm.probes.report import IGNORED, Batch, Report, Step
from tinyllm.probes.subject import Subject, diagnose
from tinyllm.text import tinywiki
from tinyllm.text.subword_tokenizer import SubWordTokenizer

STEPS, ROWS, RATE = 120, 4, 6e-3
WIDTH, HEADS, LAYERS, CONTEXT = 64, 1, 2, 160
ARTICLES, HELD_OUT_ARTICLES, VOCABULARY = 900, 24, 1000

Past = list[tuple[Tensor, Tensor]]  # the keys and values of each layer, each (B, H, T, D)


# A model in one screen


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(D)) V; with `past`, the keys and values of earlier tokens too."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.projection = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        B, T, C = x.shape
        q, k, v = (t.view(B, T, HEADS, -1).transpose(1, 2) for t in self.qkv(x).split(C, dim=-1))  # (B, H, T, D)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        scores = q @ k.transpose(-2, -1) / self.scale(q.shape[-1])
        weights = scores.masked_fill(~self.visible(T, k.shape[2]), -torch.inf).softmax(-1)
        y = self.thin_out(weights) @ v
        return self.projection(y.transpose(1, 2).reshape(B, T, C)), (k, v)

    def scale(self, head_dim: int) -> float:
        return math.sqrt(head_dim)

    def visible(self, T: int, all_keys: int) -> Tensor:
        return torch.ones(T, all_keys, dtype=torch.bool).tril(all_keys - T)

    def thin_out(self, weights: Tensor) -> Tensor:
        return F.dropout(weights, 0.05, self.training)


class Block(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(WIDTH), attention
        self.feedforward_norm = nn.LayerNorm(WIDTH)
        self.feedforward = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, present = self.attention(self.attention_norm(x), past)
        x = x + y
        return x + self.feedforward(self.feedforward_norm(x)), present


class SmallGPT(nn.Module):
    """Ids (B, T) -> logits (B, T, V). A `past` list is filled with the keys and values of each layer."""

    attention: type[nn.Module] = Attention

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = self.collect([Block(self.attention()) for _ in range(LAYERS)])
        self.final_norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.draw_embeddings()
        self.tie()

    def collect(self, blocks: list[nn.Module]) -> Sequence[nn.Module]:
        return nn.ModuleList(blocks)

    def draw_embeddings(self) -> None:
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def tie(self) -> None:
        self.head.weight = self.embedding.weight

    def place(self, past: Past | None) -> int:
        """The position of the first token of a call."""
        return past[0][0].shape[2] if past else 0

    def forward(self, ids: Tensor, past: Past | None = None) -> Tensor:
        first = self.place(past)
        x = self.embedding(ids) + self.positions(torch.arange(first, first + ids.shape[1]))
        presents = []
        for layer, block in enumerate(self.blocks):
            x, present = block(x, past[layer] if past else None)
            presents.append(present)
        if past is not None:
            past[:] = presents
        return self.head(self.final_norm(x))


def stepwise(model: nn.Module, ids: Tensor) -> Tensor:
    """The logits of (B, T) ids, one token at a time, with a cache: as `sample` computes them."""
    past: Past = []
    return torch.cat([model(ids[:, t : t + 1], past) for t in range(ids.shape[1])], dim=1)


@torch.no_grad()
def sample(model: nn.Module, length: int = 90, seed: int = 0) -> str:
    """A text drawn token by token, at temperature 0.7."""
    generator, end = torch.Generator().manual_seed(seed), tokenizer().end_of_text_id
    model.eval()
    past: Past = []
    ids = [end]
    while len(ids) <= length:
        logits = model(torch.tensor([ids[-1:]]), past)[0, -1] / 0.7
        ids.append(int(torch.multinomial(logits.softmax(-1), 1, generator=generator)))
        if ids[-1] == end:
            break
    model.train()
    return tokenizer().decode(ids[1:]).replace("<|endoftext|>", "").strip()


# A step in one screen


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> float:
    """One optimizer step on the mean over all tokens of the micro-batches; returns that mean."""
    optimizer.zero_grad()
    tokens = sum(int((targets != IGNORED).sum()) for _, targets in batches)
    total = 0.0
    for ids, targets in batches:
        loss = token_losses(model, ids, targets).sum() / tokens
        loss.backward()
        total += loss.item()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    return total


def token_losses(model: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """-log p of each target, 0 where it is ignored: (B * T)."""
    return F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")


# The text


@cache
def _articles() -> tuple[tinywiki.Article, ...]:
    return tuple(tinywiki.generate(ARTICLES + HELD_OUT_ARTICLES, seed="clinic"))


@cache
def tokenizer() -> SubWordTokenizer:
    """A small vocabulary, learned from the clinic's articles."""
    return SubWordTokenizer.train([article.text for article in _articles()], VOCABULARY)


@cache
def _encoded() -> list[list[int]]:
    end = tokenizer().end_of_text_id
    return [[end, *ids, end] for ids in tokenizer().encode_batch([article.text for article in _articles()])]


def honest_split() -> tuple[list[int], list[int]]:
    """The numbers of the articles to train on, and of those that only watch."""
    return list(range(ARTICLES)), list(range(ARTICLES, ARTICLES + HELD_OUT_ARTICLES))


def pad(rows: Sequence[Sequence[int]]) -> Batch:
    """Ids and their targets, one place later, each (B, T); short rows are filled up with targets that do not count."""
    longest, end = max(map(len, rows)), rows[0][0]
    ids = torch.tensor([[*row, *[end] * (longest - len(row))] for row in rows])
    targets = torch.tensor([[*row[1:], *[IGNORED] * (longest - len(row) + 1)] for row in rows])
    return ids, targets


def one_piece(rows: Sequence[Sequence[int]]) -> list[Batch]:
    """The whole batch at once."""
    return [pad(rows)]


def two_pieces(rows: Sequence[Sequence[int]]) -> list[Batch]:
    """The same in two micro-batches, the second one with few tokens: short texts are put together."""
    return [pad(rows[1:]), pad([rows[0][:12]])]


# Patients


@dataclass(frozen=True)
class Training:
    """A training in six pieces. A patient is one that has another piece somewhere."""

    complaint: str = ""
    model: type[SmallGPT] = SmallGPT
    step: Step = step
    batches: Callable[[Sequence[Sequence[int]]], list[Batch]] = one_piece
    split: Callable[[], tuple[list[int], list[int]]] = honest_split
    rate: float = RATE

    def build(self, seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The untrained model and its optimizer."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.model()
        return model, torch.optim.AdamW(model.parameters(), self.rate, betas=(0.9, 0.95))

    def batch(self, number: int) -> list[Batch]:
        """The micro-batches of a step: the training articles in order, again and again."""
        train, _ = self.split()
        return self.batches(
            [_encoded()[train[place % len(train)]] for place in range(number * ROWS, (number + 1) * ROWS)]
        )

    @torch.no_grad()
    def held_out_loss(self, model: nn.Module) -> float:
        """Nats per token of the articles that only watch, as this training computes it."""
        model.eval()
        _, watched = self.split()
        ids, targets = self.batches([_encoded()[place] for place in watched])[0]
        losses = token_losses(model, ids, targets)
        model.train()
        return (losses.sum() / (targets != IGNORED).sum()).item()

    def floor(self) -> float:
        """The entropy of those articles: no loss on text that was never seen is lower."""
        _, watched = self.split()
        return sum(_articles()[place].nats for place in watched) / sum(len(_encoded()[place]) - 1 for place in watched)

    def train(self, steps: int = STEPS, seed: int = 0) -> "Record":
        """Run it: a warm-up over the first tenth, then a constant rate."""
        model, optimizer = self.build(seed)
        training, held_out, at = [], [], list(range(0, steps + 1, 20))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for number in range(steps + 1):
                if number in at:
                    held_out.append(self.held_out_loss(model))
                for group in optimizer.param_groups:
                    group["lr"] = self.rate * min(1.0, (number + 1) / (steps // 10))
                training.append(self.step(model, optimizer, self.batch(number)))
        return Record(self, seed, model, training, held_out, at)


@dataclass(frozen=True)
class Record:
    """What a training left behind."""

    of: Training
    seed: int
    model: nn.Module
    training: list[float]
    """The loss that each step reported."""
    held_out: list[float]
    at: list[int]
    """The steps at which `held_out` was measured."""

    def sample(self, length: int = 90) -> str:
        """A text that the model writes."""
        return sample(self.model, length)

    def subject(self) -> Subject:
        """The same, as the probes of `tinyllm.probes` want it."""
        train, watched = self.of.split()
        streams = tuple(
            np.array([i for place in part for i in _encoded()[place]], np.uint16) for part in (train, watched)
        )
        return Subject(
            model=self.model,
            build=lambda: self.of.build(self.seed),
            step=self.of.step,
            batch=self.of.batch,
            stepwise=stepwise,
            first_loss=self.training[0],
            texts=streams,
            floor=(self.held_out[-1], self.of.floor(), 0.0),
        )

    def diagnose(self) -> Report:
        """All probes on this training."""
        return diagnose(self.subject())


HEALTHY = Training()


# What is wrong with them


class _SeesOneAhead(Attention):
    def visible(self, T: int, all_keys: int) -> Tensor:
        return torch.ones(T, all_keys, dtype=torch.bool).tril(all_keys - T + 1)


class _LeakyMask(SmallGPT):
    attention = _SeesOneAhead


def _not_shifted(rows: Sequence[Sequence[int]]) -> list[Batch]:
    ids, targets = pad(rows)
    return [(ids, ids.masked_fill(targets == IGNORED, IGNORED))]


def _split_after_doubling() -> tuple[list[int], list[int]]:
    """Few articles, each of which stands in the collection several times; then a shuffle and a split."""
    places = list(range(8)) * 6
    random.Random(0).shuffle(places)
    return places[:40], places[40:]


def _step_that_never_zeroes(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> float:
    total = 0.0
    for ids, targets in batches:
        loss = token_losses(model, ids, targets).sum() / (targets != IGNORED).sum()
        loss.backward()
        total += loss.item()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    return total


class _Unscaled(Attention):
    def scale(self, head_dim: int) -> float:
        return 1.0


class _UnscaledAttention(SmallGPT):
    attention = _Unscaled


class _LayersInAList(SmallGPT):
    def collect(self, blocks: list[nn.Module]) -> Sequence[nn.Module]:
        return blocks  # not an nn.ModuleList, so model.parameters() does not know them


class _CopiedHead(SmallGPT):
    def tie(self) -> None:
        self.head.weight.data = self.embedding.weight.data.clone()


class _AlwaysThins(Attention):
    def thin_out(self, weights: Tensor) -> Tensor:
        return F.dropout(weights, 0.3)  # its third argument, training, is True by default


class _DropoutStaysOn(SmallGPT):
    attention = _AlwaysThins


def _mean_of_means(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> float:
    optimizer.zero_grad()
    total = 0.0
    for ids, targets in batches:
        mean = token_losses(model, ids, targets).sum() / (targets != IGNORED).sum()
        loss = mean / len(batches)
        loss.backward()
        total += loss.item()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    return total


class _LargeEmbeddings(SmallGPT):
    def draw_embeddings(self) -> None:
        """nn.Embedding's own: a standard deviation of 1."""


class _AlwaysPlaceZero(SmallGPT):
    def place(self, past: Past | None) -> int:
        return 0


BUGS = {
    "leaky mask": Training("Best model ever! But its texts are odd.", model=_LeakyMask),
    "targets not shifted": Training("Loss zero after a minute. Am I done?", batches=_not_shifted),
    "leaking split": Training("Few articles, and yet the best held-out loss of all.", split=_split_after_doubling),
    "rate too high": Training("It falls a little, and then nothing.", rate=0.3),
    "no zero_grad": Training("It learns, but my friend's learns more.", step=_step_that_never_zeroes),
    "attention not scaled": Training("A slow start, whatever I do.", model=_UnscaledAttention),
    "frozen layers": Training("My optimizer needs so little memory! But the samples are poor.", model=_LayersInAList),
    "head copied": Training("All is well, but my checkpoint is larger than it should be.", model=_CopiedHead),
    "dropout at evaluation": Training("Each time I evaluate, I get another number.", model=_DropoutStaysOn),
    "mean of means": Training("Since short texts are a micro-batch of their own, it learns slowly.",
                              step=_mean_of_means, batches=two_pieces),
    "weights drawn too large": Training("It starts at a loss I cannot explain.", model=_LargeEmbeddings),
    "wrong positions in the cache": Training("A fine loss, and gibberish.", model=_AlwaysPlaceZero),
}  # fmt: skip


def patient(number: int) -> Training:
    """The patient with this number, from 1. Raises ValueError if there is none."""
    if number not in range(1, len(BUGS) + 1):
        raise ValueError(f"there are patients 1 to {len(BUGS)}, not {number!r}")
    return list(BUGS.values())[number - 1]


def healed(number: int) -> Training:
    """The same training without its bug. Raises ValueError for a number that no patient has."""
    ill = patient(number)
    if ill.split is not honest_split:
        return replace(HEALTHY, split=_split_before_doubling)
    return replace(HEALTHY, batches=two_pieces) if ill.batches is two_pieces else HEALTHY


def _split_before_doubling() -> tuple[list[int], list[int]]:
    return list(range(8)) * 5, list(range(8, 16))
