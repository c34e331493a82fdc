"""The main job, from nothing to a trained model in about two minutes: `python -m tinyllm quickstart`."""

import time
from typing import Any

from tinyllm.config import GenerationConfig, RunConfig
from tinyllm.evaluation import FloorEvaluation
from tinyllm.generation import generate_texts
from tinyllm.run import train
from tinyllm.text import tinywiki
from tinyllm.text.sources import load_corpus

SAMPLES = 32
SAMPLING = GenerationConfig(temperature=0.8, seed=1)
_MEANING = {
    "grammar": "fixed words",
    "choice": "fresh draws: the floor is theirs",
    "recall": "facts set earlier in the article",
    "world": "facts that follow from others",
}


def quickstart(config: RunConfig) -> dict[str, Any]:
    """Train on TinyWiki, compare with its exact entropy, draw the loss curve, sample; returns the figures for --json.

    Raises ValueError for another corpus, which has no known floor: that is what `train` is for.
    """
    articles = load_corpus(config.dataset.data).articles("train")
    if not articles:
        raise ValueError(
            "quickstart is made for TinyWiki; for your own text: python -m tinyllm train laptop --data PATH"
        )
    began = time.perf_counter()
    print("TinyWiki: an encyclopedia of people who never lived. One of its articles:\n")
    print(articles[0].text)
    run = train(config)
    if not run.finished:
        raise KeyboardInterrupt
    result = run.evaluate("test")
    assert isinstance(result, FloorEvaluation)
    report(result)
    curve = run.folder / "loss.png"
    run.plot(curve)
    samples = generate_texts(run.model, run.tokenizer, "", SAMPLING, SAMPLES)
    parsed, unchanged, recalled = judge(samples)
    print(f"\nThree of {SAMPLES} samples at temperature {SAMPLING.temperature}:\n")
    print("\n".join(samples[:3]))
    print(f"{parsed} of {SAMPLES} samples parse as TinyWiki articles ({parsed / SAMPLES:.0%}).")
    share = unchanged / recalled if recalled else 0.0
    print(
        f"In these, {unchanged} of {recalled} later mentions of the first sentence's facts are unchanged ({share:.1%})."
    )
    steps = [point for point in run.history if "training_loss" in point]
    tokens_per_second = sum(p["tokens_per_second"] * p["seconds"] for p in steps) / sum(p["seconds"] for p in steps)
    seconds = time.perf_counter() - began
    print(f"\n{tokens_per_second:,.0f} tokens/s in training; {seconds:.0f} seconds in all. Loss curve: {curve}")
    print(f"Try: python -m tinyllm sample {run.folder} --prompt ' = Agatha'")
    return {
        "validation_loss": result.nats_per_token,
        "entropy_floor": result.floor,
        "standard_error": result.standard_error,
        "by_label": result.by_label,
        "samples_that_parse": parsed / SAMPLES,
        "facts_unchanged": share,
        "tokens_per_second": tokens_per_second,
        "seconds": seconds,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "sample": samples[0],
        "run": str(run.folder),
    }


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
