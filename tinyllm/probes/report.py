"""What a probe found, and the report of all probes."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

Batch = tuple[Int[Tensor, "_ _"], Int[Tensor, "_ _"]]
"""The ids and the targets of one micro-batch, each (B, T). The micro-batches of a step may differ in size."""
Build = Callable[[], tuple[nn.Module, torch.optim.Optimizer]]
"""Makes the model as it is before its first step, the same at each call, and its optimizer."""
Step = Callable[[nn.Module, torch.optim.Optimizer, Sequence[Batch]], float]
"""Makes one optimizer step on some micro-batches and returns the loss it reports."""

IGNORED = -100  # a target that does not count, as in `F.cross_entropy`
_COLUMNS = 88  # JupyterLab breaks a longer line in mid-word beside a file browser


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
    """The findings of all probes. Printed, or last in a cell, it shows them one below the other."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[str]:
        """The names of the probes that found something wrong."""
        return [finding.probe for finding in self.findings if finding.ok is False]

    def __str__(self) -> str:
        count = len(self.problems)
        verdict = f"{count} of {len(self.findings)} probes found one." if count else "No probe found a problem."
        told = [textwrap.fill(str(finding), _COLUMNS, subsequent_indent=9 * " ") for finding in self.findings]
        return "\n".join([*told, verdict])

    __repr__ = __str__
