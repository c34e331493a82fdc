"""The main job, from nothing to a trained model in about two minutes: `python -m tinyllm quickstart`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyllm.config import GenerationConfig, RunConfig
from tinyllm.evaluation import FloorEvaluation
from tinyllm.generation.writing import generate_texts
from tinyllm.run import Run, train
from tinyllm.system.paths import shell_word, shown, shown_name
from tinyllm.text import tinywiki
from tinyllm.text.articles import Article
from tinyllm.text.sources import load_corpus
from tinyllm.training.early_stopping import measurements

SAMPLES = 32
SAMPLING = GenerationConfig(temperature=0.8, seed=1)
_MEANING = {
    "grammar": "fixed words",
    "choice": "fresh draws: the floor is theirs",
    "recall": "facts set earlier in the article",
    "world": "facts that follow from others",
}


def quickstart(config: RunConfig) -> dict[str, Any] | None:
    """Train on TinyWiki, compare with its exact entropy, draw the loss curve, sample.

    Returns the figures for --json, or None if the run was stopped before its end. Raises ValueError for a corpus of
    unknown entropy, which is what `train` is for, or for a finished run whose history was lost.
    """
    articles = _articles(config.dataset.data)
    if config.dataset.tokenizer in ("character", "word"):
        raise ValueError("quickstart scores tokens by kind, which needs the tokenizer gpt2 or bpe; `train` takes all")
    began = time.perf_counter()
    print("TinyWiki: an encyclopedia of people who never lived. One of its articles:\n")
    print(articles[0].text)
    run = train(config)
    if not run.finished:
        return None
    measured_losses(run)  # without a history there is no curve to draw
    result = run.evaluate("test")
    assert isinstance(result, FloorEvaluation)
    report(result)
    curve = run.folder / "loss.png"
    run.plot(curve)
    samples = report_samples(generate_texts(run.model, run.tokenizer, "", SAMPLING, SAMPLES))
    speed, seconds = _tokens_per_second(run), time.perf_counter() - began
    print(f"\n{speed:,.0f} tokens/s in training; {seconds:.0f} seconds in all. Loss curve: {shown(str(curve))}")
    print(f"Type next, for an article that begins as you say:\n\n  {next_command(run.folder)}")
    return {
        "validation_loss": result.nats_per_token,
        "entropy_floor": result.floor,
        "standard_error": result.standard_error,
        "by_label": result.by_label,
        "tokens_per_second": speed,
        "seconds": seconds,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        **samples,
        "run": str(run.folder),
    }


def next_command(folder: Path) -> str:
    """A line to paste into the shell from which this Python was started, whether or not it is the one on the PATH."""
    return f"{shell_word(sys.executable)} -m tinyllm sample {shell_word(folder)} --prompt ' = Agatha'"


def _articles(data: str) -> Sequence[Article]:
    """The training articles of a corpus of known entropy. Raises ValueError for any other text, existing or not."""
    try:
        articles = load_corpus(data).articles("train")
    except FileNotFoundError:
        articles = ()
    if not articles:
        raise ValueError(
            "quickstart is made for TinyWiki; for your own text: python -m tinyllm train laptop --data PATH"
        )
    return articles


def report(result: FloorEvaluation) -> None:
    """Print the loss beside the floor, in all and by kind of token."""
    print(f"On {result.tokens:,} tokens of articles it never saw, each read from its start, in nats per token:\n")
    print(f"  loss           {result.nats_per_token:.3f} +- {result.standard_error:.3f}")
    print(f"  entropy floor  {result.floor:.3f}   no model can do better; this one is {result.above_floor:+.1%} above")
    print(f"  forgetful      {result.forgetful_nats / result.tokens:.3f}   who draws each recalled fact again\n")
    print("  kind      tokens   loss  floor")
    for label, part in result.by_label.items():
        loss, floor = part["nats"] / part["tokens"], part["floor_nats"] / part["tokens"]
        print(f"  {label:8s} {part['tokens']:7,} {loss:6.3f} {floor:6.3f}   {_MEANING[label]}")


def report_samples(samples: list[str]) -> dict[str, Any]:
    """Print three samples and the verdict on all; returns the first of them, and the verdict as two shares."""
    parsed, unchanged, recalled = judge(samples)
    parse, same = parsed / len(samples), unchanged / recalled if recalled else 0.0
    print(f"\nThree of {len(samples)} samples at temperature {SAMPLING.temperature}:\n")
    print("\n".join(samples[:3]))
    print(f"{parsed} of {len(samples)} samples parse as TinyWiki articles ({parse:.0%}).")
    print(f"In these, {unchanged} of {recalled} facts of title and first sentence are unchanged later ({same:.1%}).")
    return {"samples_that_parse": parse, "facts_unchanged": same, "sample": samples[0]}


def judge(samples: list[str]) -> tuple[int, int, int]:
    """How many samples have an article's form; in these, how many recalled facts are unchanged, of how many."""
    parsed = unchanged = recalled = 0
    for sample in samples:
        try:
            same, again = tinywiki.recalled_facts(sample)
        except ValueError:
            continue
        parsed, unchanged, recalled = parsed + 1, unchanged + same, recalled + again
    return parsed, unchanged, recalled


def measured_losses(run: Run) -> list[dict[str, Any]]:
    """The measurements of a run that has finished. Raises ValueError if it has none, because its history was lost."""
    measured, name = measurements(run.history, run.iteration), shown_name(run.folder)
    if not measured:
        raise ValueError(f"{name} is finished, but its history.jsonl is missing or damaged: evaluate scores its model")
    return measured


def _tokens_per_second(run: Run) -> float:
    """The mean speed of the run's steps, measurements and checkpoints aside."""
    steps = [point for point in run.history if "training_loss" in point]
    tokens: float = sum(point["tokens_per_second"] * point["seconds"] for point in steps)
    seconds: float = sum(point["seconds"] for point in steps)
    return tokens / seconds
