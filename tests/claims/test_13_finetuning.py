"""What chapter 13 says of models that learned to answer: what they get right, and what they forget.

The rate was chosen on seed 0: of 0.0005, 0.001 and 0.002 the middle one answered best, on dialogues alone (300 steps)
and with old text among them (200). "honest", compared with what it went on from only, has that rate too.
"""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from evidence import SEEDS, TIMES
from quickstarts import STEPS, trained

import tinyllm
from tinyllm import evaluate_articles
from tinyllm.course.questions import UNKNOWN, ask
from tinyllm.generation.answering import exact_matches
from tinyllm.system.cache import home
from tinyllm.text import tinywiki
from tinyllm.text.dialogues import Dialogue, Message
from tinyllm.text.turns import Turns

TUNING = {"full": 200, "mixed": 200, "honest": 150}  # the chapter's own steps of fine-tuning
BATCHES = {"full": 2, "mixed": 3, "honest": 3}  # blocks; as many dialogues in each
RATE = 1e-3
LONGEST = 24  # tokens of an answer
ARTICLES = tinywiki.articles("test")[:60]
TOLD, UNTOLD = ask("article", "test", 120), ask("unanswerable", "test", 120)
SILENT = [Dialogue([*told.messages[:1], Message("assistant", UNKNOWN)]) for told in TOLD]


def documents(way: str) -> list[str]:
    """What the chapter trains on, in this way."""
    talk: list[str] = [*ask("article", "train", 900), *ask("world", "train", 100)]
    old = [article.text for article in tinywiki.generate(500, "train")]
    careful = [*talk[:500], *ask("unanswerable", "train", 500), *old[:250]]
    return {"full": talk, "mixed": talk + old, "honest": careful}[way]


def before(way: str, seed: int) -> tinyllm.Run:
    """What this way goes on from: the base model of this seed, or "honest" the answerer that has seen old text."""
    return answerer("mixed", TUNING["mixed"], seed) if way == "honest" else trained(STEPS, seed)


@cache
def answerer(way: str, steps: int, seed: int) -> tinyllm.Run:
    """A model of this seed, fine-tuned: on dialogues alone ("full"), with old text ("mixed"), or then on questions too
    that the article does not answer ("honest").
    """
    start = before(way, seed)
    folder = home() / f"answerer-{way}-{steps}-{seed}"
    path = Path(f"{folder}.jsonl")
    rows = [
        [turn._asdict() for turn in document.messages] if isinstance(document, Dialogue) else document
        for document in documents(way)
    ]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), encoding="utf-8")
    return tinyllm.train(
        "quickstart", data=str(path), dialogues=True, init_from=str(start.folder), run_folder=str(folder), seed=seed,
        max_iterations=steps, evaluation_interval=steps, max_learning_rate=RATE, min_learning_rate=RATE / 10,
        batch_size=BATCHES[way], progress=False,
    )  # fmt: skip


def by_length(measure, *ways: str) -> dict[str, list[float]]:
    """One number a seed, after the chapter's own steps and after twice as many, in ways that take equally many."""
    [own] = {TUNING[way] for way in ways}
    return {
        f"{steps} steps": [measure(*(answerer(way, steps, seed) for way in ways)) for seed in SEEDS]
        for steps in (times * own for times in TIMES)
    }


def changed(way: str, measure) -> dict[str, list[float]]:
    """After minus before the fine-tuning, in the same form."""
    earlier = cache(lambda seed: measure(before(way, seed)))
    return by_length(lambda run: measure(run) - earlier(run.config.training.seed), way)


def right(run: tinyllm.Run, dialogues: list[Dialogue]) -> float:
    found = exact_matches(run.model, run.tokenizer, dialogues, maximum_length=LONGEST)
    return sum(found) / len(found)


def right_about(run: tinyllm.Run, *facts: str) -> float:
    return sum(right(run, ask("article", "test", 40, fact=fact)) for fact in facts) / len(facts)


def nats(run: tinyllm.Run) -> float:
    return evaluate_articles(run.model, run.tokenizer, ARTICLES).nats_per_token


@torch.no_grad()
def confidence(run: tinyllm.Run, dialogue: Dialogue) -> float:
    """The probability of the greedy answer to this dialogue's question: of its tokens, and of its end."""
    turns = Turns.of(run.tokenizer)
    ids, product = [turns.document, *run.tokenizer.encode_messages(dialogue.messages[:1]), turns.assistant], 1.0
    for _ in range(LONGEST):
        p, token = run.model(torch.tensor([ids]))[0, -1].softmax(-1).max(0)
        product *= p.item()
        if token.item() in turns:
            break
        ids.append(token.item())
    return product


def too_sure(run: tinyllm.Run) -> float:
    asked = [*TOLD[:60], *UNTOLD[:60]]
    return sum(confidence(run, dialogue) for dialogue in asked) / len(asked) - right(run, asked)


# What it answers


@pytest.mark.claim("13.answers_what_it_could_recall")
def test_facts_that_articles_repeat_are_answered_better_than_those_told_once(evidence):
    def more(run: tinyllm.Run) -> float:
        return right_about(run, "town", "profession", "deed") - right_about(run, "cause", "pet")

    evidence.larger("share right: town, profession, deed minus cause, pet", by_length(more, "full"))


@pytest.mark.claim("13.world_by_heart")
def test_world_facts_asked_in_training_are_answered_better_than_others(evidence):
    def more(run: tinyllm.Run) -> float:
        return right(run, ask("world", "train", 48)) - right(run, ask("world", "test", 12))

    evidence.larger("share right: world facts asked in training minus never asked", by_length(more, "full"))


# What it forgets


@pytest.mark.claim("13.forgetting")
def test_fine_tuning_on_dialogues_alone_forgets_articles(evidence):
    evidence.larger("nats per token of articles: after minus before", changed("full", nats))


@pytest.mark.claim("13.mixing_keeps")
def test_old_text_mixed_in_keeps_what_was_known(evidence):
    kept = by_length(lambda full, mixed: nats(full) - nats(mixed), "full", "mixed")
    evidence.larger("nats per token of articles: dialogues alone minus with old text", kept)
    lost = changed("mixed", nats)
    evidence.between("nats per token of articles with old text: after minus before", lost, -0.1, 0.1)


# What it does not know


@pytest.mark.claim("13.learns_to_say_so")
def test_shown_what_cannot_be_answered_it_makes_less_up_and_holds_more_back(evidence):
    """The right answers that this costs are judged at the chapter's own length: with more steps most come back."""
    fewer = changed("honest", lambda run: right(run, UNTOLD))
    evidence.larger("answers made up, of 120 questions that the article does not answer: before minus after", fewer)
    more = changed("honest", lambda run: right(run, SILENT))
    evidence.larger("answers held back, of 120 that it does answer: after minus before", more)
    (name, lost), (_, later) = changed("honest", lambda run: 1 - right(run, TOLD)).items()
    evidence.larger("share right of these: before minus after", {name: lost})
    back = [early - late for early, late in zip(lost, later, strict=True)]
    evidence.larger("that loss, 150 minus 300 steps", {name: back})


@pytest.mark.claim("13.calibrated")
def test_what_it_is_sure_of_is_right_about_as_often(evidence):
    gap = by_length(too_sure, "honest")
    evidence.between("mean confidence minus share right of 120 answers", gap, -0.1, 0.1)
