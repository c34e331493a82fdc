"""Is my loss right? Probes for any training: each looks for one kind of bug and says in words what it found.

A bug in a training rarely stops it: the loss still falls. So each probe compares something that must be so (nothing
before token t may depend on token t) with what is so. The probes need no more than a model of ids (B, T) -> logits
(B, T, V) and a function that makes one optimizer step, so they work on other people's loops too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]  # ids and targets, each (B, T)
Step = Callable[[nn.Module, torch.optim.Optimizer, Sequence[Batch]], float]

IGNORED = -100  # a target that does not count, as in `F.cross_entropy`


@dataclass(frozen=True)
class Finding:
    """What one probe found. `ok` is None where there was nothing to probe."""

    probe: str
    ok: bool | None
    found: str
    advice: str = ""
    """What it means and what to do, where something is wrong."""

    def __str__(self) -> str:
        mark = {True: "ok", False: "PROBLEM", None: "-"}[self.ok]
        return f"{mark:8s} {self.probe}: {self.found}" + (f" {self.advice}" if self.ok is False else "")


@dataclass(frozen=True, repr=False)
class Report:
    """The findings of all probes; printing it, or leaving it last in a cell, shows a line for each."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[str]:
        """The names of the probes that found something wrong."""
        return [finding.probe for finding in self.findings if finding.ok is False]

    def __str__(self) -> str:
        number = len(self.problems)
        verdict = "No probe found a problem." if not number else f"{number} of {len(self.findings)} probes found one."
        return "\n".join([*map(str, self.findings), verdict])

    __repr__ = __str__


# Probes of a model


# Probes of a step


# Probes of a text


# What the probes are made of
