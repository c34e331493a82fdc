"""A training in six pieces, right in each of them, and the record that it leaves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt16
from torch import Tensor, nn

from tinyllm.course.clinic.small_gpt import KeysValues, SmallGPT, stepwise
from tinyllm.course.clinic.small_text import Rows, articles, honest_split, one_piece, rows, tokenizer
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.probes.report import IGNORED, Batch, Report, Step
from tinyllm.probes.subject import Subject, diagnose

STEPS, ROWS, RATE = 120, 4, 6e-3


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> float:
    """One optimizer step on the mean over all tokens of the micro-batches; returns that mean."""
    optimizer.zero_grad()
    tokens = sum(int((targets != IGNORED).sum()) for _, targets in batches)
    total = 0.0
    for ids, targets in batches:
        loss = token_losses(model, ids, targets).sum() / tokens
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        total += loss.item()
    clip_and_step(optimizer)
    return total


def clip_and_step(optimizer: torch.optim.Optimizer) -> None:
    """Clip the gradients to a norm of 1, then change the weights."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()


def token_losses(model: nn.Module, ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]) -> Float[Tensor, " N"]:
    """-log p of each target, 0 where it is ignored; N = B * T."""
    logits, targets = model(ids).flatten(0, 1), targets.flatten()
    return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")


@torch.no_grad()
def sample(model: nn.Module, length: int = 90, seed: int = 0) -> str:
    """A text of up to `length` tokens, drawn token by token at temperature 0.7."""
    generator, end = torch.Generator().manual_seed(seed), tokenizer().end_of_text_id
    past: list[KeysValues] = []
    ids = [end]
    with evaluation_mode(model):
        while len(ids) <= length:
            logits = model(torch.tensor([ids[-1:]]), past)[0, -1] / 0.7
            ids.append(int(torch.multinomial(logits.softmax(-1), 1, generator=generator)))
            if ids[-1] == end:
                break
    return tokenizer().decode(ids[1:]).replace("<|endoftext|>", "").strip()


@dataclass(frozen=True)
class Training:
    """A training in six pieces. A patient differs in one of them."""

    complaint: str = ""
    model: type[SmallGPT] = SmallGPT
    step: Step = step
    batches: Callable[[Rows], list[Batch]] = one_piece
    split: Callable[[], tuple[list[int], list[int]]] = honest_split
    rate: float = RATE

    def build(self, seed: int = 0) -> tuple[SmallGPT, torch.optim.Optimizer]:
        """The untrained model and its optimizer."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.model()
        return model, torch.optim.AdamW(model.parameters(), self.rate, betas=(0.9, 0.95))

    def batch(self, index: int) -> list[Batch]:
        """The micro-batches of a step, counted from 0: the training articles in order, over and over."""
        train, _ = self.split()
        chosen = range(index * ROWS, (index + 1) * ROWS)
        return self.batches([rows()[train[position % len(train)]] for position in chosen])

    @torch.no_grad()
    def held_out_loss(self, model: nn.Module) -> float:
        """Nats per token of the held-out articles, as this training computes it."""
        _, held_out = self.split()
        ids, targets = self.batches([rows()[article] for article in held_out])[0]
        with evaluation_mode(model):
            losses = token_losses(model, ids, targets)
        return float(losses.sum() / (targets != IGNORED).sum())

    def floor(self) -> float:
        """What the draws in those articles cost their writer: who has not seen them does no better in the mean."""
        _, held_out = self.split()
        nats = sum(articles()[article].nats for article in held_out)
        return nats / sum(len(rows()[article]) - 1 for article in held_out)

    def train(self, steps: int = STEPS, seed: int = 0) -> "Record":
        """Run it: the rate warms up over the first tenth and is constant afterwards."""
        model, optimizer = self.build(seed)
        training, held_out, at = [], [], list(range(0, steps + 1, 20))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for index in range(steps + 1):
                if index in at:
                    held_out.append(self.held_out_loss(model))
                for group in optimizer.param_groups:
                    group["lr"] = self.rate * min(1.0, (index + 1) / (steps // 10))
                training.append(self.step(model, optimizer, self.batch(index)))
        return Record(self, seed, model, training, held_out, at)


@dataclass(frozen=True)
class Record:
    """What a training left behind."""

    of: Training
    seed: int
    model: SmallGPT
    training: list[float]
    """The loss that each step reported."""
    held_out: list[float]
    at: list[int]
    """The steps at which `held_out` was measured."""

    def sample(self, length: int = 90) -> str:
        """A text that the model writes."""
        return sample(self.model, length)

    def subject(self) -> Subject:
        """This training, taken apart for `tinyllm.probes`."""
        train, held_out = self.of.split()
        return Subject(
            model=self.model,
            build=lambda: self.of.build(self.seed),
            step=self.of.step,
            batch=self.of.batch,
            stepwise=stepwise,
            first_loss=self.training[0],
            texts=(_stream(train), _stream(held_out)),
            floor=(self.held_out[-1], self.of.floor(), 0.0),
            losses=(self.training, list(zip(self.at, self.held_out, strict=True))[1:]),
        )

    def diagnose(self) -> Report:
        """All probes on this training."""
        return diagnose(self.subject())


def _stream(chosen: Sequence[int]) -> UInt16[np.ndarray, " N"]:
    """The ids of these articles, one after another."""
    return np.array([token for article in chosen for token in rows()[article]], np.uint16)


HEALTHY = Training()
