"""The patients: what is wrong with each of them. Read this only when you have named all twelve."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tinyllm.course.clinic.healthy import HEALTHY, Training, clip_and_step, token_losses
from tinyllm.course.clinic.small_gpt import Attention, KeysValues, SmallGPT
from tinyllm.course.clinic.small_text import Rows, honest_split, pad, two_pieces
from tinyllm.probes.report import IGNORED, Batch


class _SeesOneAhead(Attention):
    def visible(self, queries: int, keys: int) -> Bool[Tensor, "T S"]:
        return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries + 1)


class _LeakyMask(SmallGPT):
    attention = _SeesOneAhead


def _not_shifted(rows: Rows) -> list[Batch]:
    ids, targets = pad(rows)
    return [(ids, ids.masked_fill(targets == IGNORED, IGNORED))]


def _split_after_doubling() -> tuple[list[int], list[int]]:
    """Few articles, each of them several times in the collection; then a shuffle and a split."""
    articles = list(range(8)) * 6
    random.Random(0).shuffle(articles)
    return articles[:40], articles[40:]


def _split_before_doubling() -> tuple[list[int], list[int]]:
    return list(range(8)) * 5, list(range(8, 16))


def _step_that_never_zeroes(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> float:
    tokens = sum(int((targets != IGNORED).sum()) for _, targets in batches)
    total = 0.0
    for ids, targets in batches:
        loss = token_losses(model, ids, targets).sum() / tokens
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        total += loss.item()
    clip_and_step(optimizer)
    return total


class _Unscaled(Attention):
    def scale(self, head_dim: int) -> float:
        return 1.0


class _UnscaledAttention(SmallGPT):
    attention = _Unscaled


class _LayersInAList(SmallGPT):
    def collect(self, blocks: Sequence[nn.Module]) -> Iterable[nn.Module]:
        return blocks  # not an nn.ModuleList, so model.parameters() does not know them


class _CopiedHead(SmallGPT):
    def tie(self) -> None:
        self.head.weight.data = self.embedding.weight.data.clone()


class _AlwaysDrops(Attention):
    def drop(self, weights: Float[Tensor, "B H T S"]) -> Float[Tensor, "B H T S"]:
        return F.dropout(weights, 0.3)  # its third argument, training, defaults to True


class _DropoutStaysOn(SmallGPT):
    attention = _AlwaysDrops


def _mean_of_means(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> float:
    optimizer.zero_grad()
    total = 0.0
    for ids, targets in batches:
        mean = token_losses(model, ids, targets).sum() / (targets != IGNORED).sum()
        loss = mean / len(batches)
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        total += loss.item()
    clip_and_step(optimizer)
    return total


class _LargeEmbeddings(SmallGPT):
    def draw_embeddings(self) -> None:
        nn.init.normal_(self.embedding.weight)  # its std is 1 by default, as nn.Embedding's own is
        nn.init.normal_(self.positions.weight)


class _AlwaysPositionZero(SmallGPT):
    def first_position(self, past: Sequence[KeysValues] | None) -> int:
        return 0


BUGS = {
    "leaky mask": Training("Best model ever! But its texts are odd.", model=_LeakyMask),
    "targets not shifted": Training("Loss zero after a minute. Am I done?", batches=_not_shifted),
    "leaking split": Training("Few articles, and yet the best held-out loss of all.", split=_split_after_doubling),
    "rate too high": Training("It falls a little, and then nothing.", rate=0.3),
    "no zero_grad": Training("It learns, but my friend's learns more.", step=_step_that_never_zeroes),
    "attention not scaled": Training("I fall behind, whatever I do.", model=_UnscaledAttention),
    "frozen layers": Training("My optimizer needs so little memory! But the samples are poor.", model=_LayersInAList),
    "head copied": Training("All is well, but my checkpoint is larger than it should be.", model=_CopiedHead),
    "dropout at evaluation": Training("Each time I evaluate, I get another number.", model=_DropoutStaysOn),
    "mean of means": Training("Since short texts are a micro-batch of their own, it learns slowly.",
                              step=_mean_of_means, batches=two_pieces),
    "weights drawn too large": Training("It starts at a loss I cannot explain.", model=_LargeEmbeddings),
    "wrong positions in the cache": Training("A fine loss, and gibberish.", model=_AlwaysPositionZero),
}  # fmt: skip


def patient(number: int) -> Training:
    """The patient with this number, from 1. Raises ValueError if there is none."""
    if number not in range(1, len(BUGS) + 1):
        raise ValueError(f"there are patients 1 to {len(BUGS)}, not {number!r}")
    return list(BUGS.values())[number - 1]


def healed(number: int) -> Training:
    """That patient's training without its bug. Raises ValueError if there is no such patient."""
    ill = patient(number)
    if ill.split is not honest_split:
        return replace(HEALTHY, split=_split_before_doubling)
    return replace(HEALTHY, batches=two_pieces) if ill.batches is two_pieces else HEALTHY
