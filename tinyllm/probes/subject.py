"""A training taken apart, and all probes on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tinyllm.probes.loss_probes import Losses, overfitting
from tinyllm.probes.model_probes import attention, cache, causality, dropout, first_loss, head, shift
from tinyllm.probes.report import Batch, Build, Finding, Report, Step
from tinyllm.probes.step_probes import gradients, one_batch
from tinyllm.probes.text_probes import Texts, floor, leak

WINDOW = 200  # consecutive characters that two texts hardly share by chance


@dataclass(frozen=True)
class Subject:
    """A training taken apart: what the probes examine."""

    model: nn.Module
    """As trained so far: ids (B, T) -> logits (B, T, V)."""
    build: Build
    """The same model before its first step, the same at each call, and its optimizer."""
    step: Step
    """One optimizer step on the micro-batches of a batch; returns the loss it reports."""
    batch: Callable[[int], Sequence[Batch]]
    """The micro-batches of step 0, 1, 2 ..."""
    stepwise: Callable[[nn.Module, Tensor], Tensor] | None = None
    """The logits as sampling computes them: token by token, with a cache."""
    first_loss: float | None = None
    """The first loss that the run recorded."""
    texts: Texts | None = None
    """The ids of the training text and of the held-out text."""
    characters_per_token: float = 4.5
    """Of those texts."""
    floor: tuple[float, float, float] | None = None
    """The held-out loss, the lowest loss possible on that text, and the standard error of their difference."""
    losses: Losses | None = None
    """The training losses and the held-out losses that the run recorded."""


def diagnose(subject: Subject) -> Report:
    """All probes on one training. Nothing of the subject is changed: steps are made on models built anew."""
    model, (ids, targets) = subject.model, subject.batch(0)[0]
    fresh, _ = subject.build()
    sees_ahead, random = causality(model, ids), dropout(model, ids)
    if random.ok and sees_ahead.ok:
        cached = cache(model, subject.stepwise, ids)
    else:
        cached = Finding("cache", None, "not probed: the logits are not fit to be compared.")
    findings = [
        sees_ahead,
        random,
        cached,
        shift(model, fresh, ids),
        first_loss(fresh, ids, targets, subject.first_loss),
        attention(fresh, ids),
        head(fresh),
        *gradients(subject.build, subject.step, subject.batch),
        one_batch(subject.build, subject.step, subject.batch(0)),
        overfitting(subject.losses),
        floor(subject.floor),
        leak(subject.texts, round(WINDOW / subject.characters_per_token)),
    ]
    return Report(tuple(findings))
