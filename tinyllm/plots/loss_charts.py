"""The loss of one run as it falls, and of several models side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from tinyllm.plots.axes import compare_with, new_chart, round_log_ticks
from tinyllm.plots.picture import BLUE, GREEN, GREY, ORANGE, Picture
from tinyllm.text.articles import LABELS


def loss_curve(
    history: Sequence[Mapping[str, Any]],
    lines: Mapping[str, float] | None = None,
    path: str | Path | None = None,
    published: Mapping[int, float] | None = None,
) -> Picture:
    """Training and validation loss by iteration.

    Args:
        history: points as in `Run.history`.
        lines: horizontal lines to compare with, {label: nats per token}; an entropy floor in the history is added.
        path: where to save the picture; the suffix decides the format.
        published: another run's validation loss to compare with, {iteration: nats per token}.
    """
    alt = "Line chart: training loss and held-out loss by iteration, in nats per token."
    figure, axes = new_chart("The loss of one run.", alt, height=4)
    if published:
        axes.plot(list(published), list(published.values()), "D--", color=GREY, markersize=5, label="published")
    steps = [point for point in history if "training_loss" in point]
    measured = [point for point in history if "validation_loss" in point]
    if steps:
        x, y = ([point[key] for point in steps] for key in ("iteration", "training_loss"))
        axes.plot(x, y, color=BLUE, alpha=0.25, linewidth=0.8)
        axes.plot(x, _smooth(y), color=BLUE, linewidth=1.5, label="training blocks (smoothed)")
    if measured:
        x, y = ([point[key] for point in measured] for key in ("iteration", "validation_loss"))
        axes.plot(x, y, "o-", color=ORANGE, markersize=4, label="held-out text")
    floors = [point["entropy_floor"] for point in measured if "entropy_floor" in point]
    compare_with(axes.axhline, ({"entropy floor": floors[-1]} if floors else {}) | dict(lines or {}))
    axes.set(xlabel="iteration", ylabel="loss (nats per token)")
    if not published:  # a floor far below the first losses needs a log scale; a published curve is compared by eye
        axes.set(yscale="log", ylabel="loss (nats per token, log scale)")
        round_log_ticks(axes)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _smooth(values: Sequence[float]) -> Float[np.ndarray, " N"]:
    """A running mean over about a fiftieth of the curve; near the ends over the values there are."""
    width = max(1, len(values) // 50)
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def ladder(
    results: Mapping[str, Mapping[str, float | Sequence[float]]],
    lines: Mapping[str, float | Mapping[str, float]] | None = None,
    own: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "",
) -> Picture:
    """The course's chart: the loss of several models, over all tokens and by kind of token.

    Args:
        results: {model: what `short_run` returned}, or for each kind the losses of several seeds: then a bar is their
            mean, and an error bar reaches one standard deviation up and down.
        lines: horizontal lines, {label: nats per token by kind}, or one number for the panel of all tokens.
        own: single runs, as `short_run` returned them: a diamond on the bar of each model that is in `results`.
        title: above the panels, instead of one that names the last model; then the alt text names every model.
    """
    parts = [part for part in ("all", *LABELS) if all(part in result for result in results.values())]
    figure = Picture(figsize=(9, 4.1), layout="constrained")
    figure.alt = f"Bar chart{_shown(title, list(results))}, in all and by kind of token: {', '.join(parts)}."
    heading = title or f"The ladder, up to {list(results)[-1]}."
    figure.suptitle(heading, x=0.01, ha="left", fontsize=12, fontweight="bold")
    widths = [1.6, 1, 1, 1, 1][: len(parts)]
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False, width_ratios=widths)[0]
    for panel, part in zip(panels, parts, strict=True):
        _panel(panel, part, {model: np.atleast_1d(result[part]) for model, result in results.items()})
        dots = {list(results).index(model): run[part] for model, run in (own or {}).items() if model in results}
        if dots:
            panel.plot(list(dots), list(dots.values()), "D", label="your run", **_DIAMOND)
        by_part = {name: {"all": value} if isinstance(value, float) else value for name, value in (lines or {}).items()}
        compare_with(panel.axhline, {name: value[part] for name, value in by_part.items() if part in value})
    panels[0].set_ylabel("nats per token")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _shown(title: str, models: Sequence[str]) -> str:
    if title:
        return f". {title} Nats per token of {', '.join(models)}"
    # Not every model by its name: which ones there are depends on the chapters run so far, and an output must not.
    return f": nats per token of the models up to {models[-1]}"


_DIAMOND: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "markersize": 5, "zorder": 4}


def _panel(axes: Axes, part: str, losses: Mapping[str, Float[np.ndarray, " seeds"]]) -> None:
    """One bar a model, with its loss below it, where neither an error bar nor a dot can hide it."""
    colours = ("#BBBBBB", "#56B4E9", BLUE, GREEN, ORANGE, "#CC79A7")
    means = [float(values.mean()) for values in losses.values()]
    spread = [float(values.std(ddof=1)) if len(values) > 1 else 0.0 for values in losses.values()]
    errors: dict[str, Any] = {}
    if any(spread):
        label = "mean of several runs, with their standard deviation"
        errors = {"yerr": spread, "error_kw": {"capsize": 2, "linewidth": 1, "label": label}}
    axes.bar(range(len(losses)), means, color=colours[: len(losses)], width=0.8, **errors)
    axes.margins(y=0.12)  # below the title, also over an error bar or a line at the top
    axes.set_title({"all": "all tokens"}.get(part, part), fontsize=11, fontweight="bold")
    labels = [f"{model}  {mean:.2f}" for model, mean in zip(losses, means, strict=True)]
    axes.set_xticks(range(len(losses)), labels, rotation=90, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
