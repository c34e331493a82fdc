"""What chapter 13 says of models that learned to answer: what they get right, and what they forget.

The rate was chosen on seed 0, with 300 steps: of 0.0005, 0.001 and 0.002 the middle one answered best.
"""

import json
from functools import cache
from pathlib import Path

import pytest
from evidence import SEEDS
from quickstarts import STEPS, trained

import tinyllm
from tinyllm import evaluate_articles
from tinyllm.course.questions import ask
from tinyllm.generation.answering import exact_matches
from tinyllm.system.cache import home
from tinyllm.text import tinywiki
from tinyllm.text.dialogues import Dialogue

TUNING = 200  # the chapter's own steps of fine-tuning
LENGTHS = {f"{steps} steps": steps for steps in (TUNING, TUNING // 2)}
BATCHES = {"full": 2, "mixed": 3}  # blocks; as many dialogues in each
RATE = 1e-3
ARTICLES = tinywiki.articles("test")[:60]


def documents(way: str) -> list[str]:
    """What the chapter trains on, in this way."""
    talk: list[str] = [*ask("article", "train", 900), *ask("world", "train", 100)]
    old = [article.text for article in tinywiki.generate(500, "train")]
    return talk + old if way == "mixed" else talk


@cache
def answerer(way: str, steps: int, seed: int) -> tinyllm.Run:
    """The base model of this seed, fine-tuned on dialogues alone ("full") or with old text ("mixed")."""
    base = trained(STEPS, seed)
    folder = home() / f"answerer-{way}-{steps}-{seed}"
    path = Path(f"{folder}.jsonl")
    rows = [
        [turn._asdict() for turn in document.messages] if isinstance(document, Dialogue) else document
        for document in documents(way)
    ]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), encoding="utf-8")
    return tinyllm.train(
        "quickstart", data=str(path), dialogues=True, init_from=str(base.folder), run_folder=str(folder), seed=seed,
        max_iterations=steps, evaluation_interval=steps, max_learning_rate=RATE, min_learning_rate=RATE / 10,
        batch_size=BATCHES[way], progress=False,
    )  # fmt: skip


def by_length(measure, *ways: str) -> dict[str, list[float]]:
    """One number a seed for each length, from the runs that were trained in these ways."""
    return {
        length: [measure(*(answerer(way, steps, seed) for way in ways)) for seed in SEEDS]
        for length, steps in LENGTHS.items()
    }


def right(run: tinyllm.Run, dialogues: list[Dialogue]) -> float:
    found = exact_matches(run.model, run.tokenizer, dialogues, maximum_length=24)
    return sum(found) / len(found)


def right_about(run: tinyllm.Run, *facts: str) -> float:
    return sum(right(run, ask("article", "test", 40, fact=fact)) for fact in facts) / len(facts)


def nats(run: tinyllm.Run) -> float:
    return evaluate_articles(run.model, run.tokenizer, ARTICLES).nats_per_token


def base_of(run: tinyllm.Run) -> tinyllm.Run:
    return trained(STEPS, run.config.training.seed)


# What it answers


@pytest.mark.claim("13.answers_what_it_could_recall")
def test_facts_that_articles_repeat_are_answered_better_than_those_told_once(evidence):
    def more(run: tinyllm.Run) -> float:
        return right_about(run, "town", "profession", "deed") - right_about(run, "cause", "pet")

    evidence.larger("share right: town, profession, deed minus cause, pet", by_length(more, "full"))


@pytest.mark.claim("13.world_by_heart")
def test_world_facts_asked_in_training_are_answered_better_than_others(evidence):
    """At the chapter's own length; after half of it hardly any is answered, as the second row says."""

    def more(run: tinyllm.Run) -> float:
        return right(run, ask("world", "train", 48)) - right(run, ask("world", "test", 12))

    own, half = by_length(more, "full").values()
    name = f"{TUNING} steps"
    evidence.larger("share right: world facts asked in training minus never asked", {name: own})
    grown = [late - early for late, early in zip(own, half, strict=True)]
    evidence.larger(f"that difference, {TUNING} minus {TUNING // 2} steps", {name: grown})


# What it forgets


@pytest.mark.claim("13.forgetting")
def test_fine_tuning_on_dialogues_alone_forgets_articles(evidence):
    lost = by_length(lambda run: nats(run) - nats(base_of(run)), "full")
    evidence.larger("nats per token of articles: after minus before", lost)


@pytest.mark.claim("13.mixing_keeps")
def test_old_text_mixed_in_keeps_what_was_known(evidence):
    kept = by_length(lambda full, mixed: nats(full) - nats(mixed), "full", "mixed")
    evidence.larger("nats per token of articles: dialogues alone minus with old text", kept)
    lost = by_length(lambda run: nats(run) - nats(base_of(run)), "mixed")
    evidence.between("nats per token of articles with old text: after minus before", lost, -0.1, 0.1)
