"""Probes of a run's losses."""

from collections.abc import Sequence
from statistics import mean

from tinyllm.probes.report import Finding

Losses = tuple[Sequence[float], Sequence[tuple[int, float]]]
"""The training loss of each step, and pairs of steps done and the held-out loss measured there; nats per token."""

RISE = 1.05  # times the best held-out loss: the same text is scored each time, so less than this can be chance
GAP = 0.5  # the training loss as a share of the held-out one, below which the text is known by heart
_RECENT = 0.05  # of the steps, whose mean is the training loss


def overfitting(losses: Losses | None) -> Finding:
    """What is learned from the training text must help on held-out text too."""
    training, held_out = losses or ((), ())
    if not training or not held_out:
        return Finding("overfitting", None, "there are no two losses to compare.")
    steps = max(1, round(_RECENT * len(training)))
    at, best = min(held_out, key=lambda pair: pair[1])
    end, last = held_out[-1]
    before, recent = mean(training[:at][-steps:]), mean(training[:end][-steps:])
    rises = last > RISE * best and recent < before
    found = f"after step {end} the training loss is {recent:.2f} and the held-out loss {last:.2f}"
    return Finding(
        "overfitting",
        not rises and (recent > GAP * last or last - recent < 0.1),
        f"{found}, which was lowest after step {at}: {best:.2f}." if rises else f"{found}.",
        "The model learns its text by heart. More text helps, a smaller model, more dropout, fewer steps (patience). "
        "load_run gives the best checkpoint.",
    )
