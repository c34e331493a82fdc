"""What chapter 13 says of models that learned to answer: what they get right, forget, make up and are sure of.

The rates were chosen on seed 0: of 0.0005, 0.001 and 0.002 the middle one answers best in full, and of 0.005 and 0.01
the first with LoRA.
"""

import json
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from evidence import SEEDS, TIMES
from quickstarts import STEPS, trained

import tinyllm
from tinyllm import GenerationConfig, evaluate_articles
from tinyllm.course.questions import ask
from tinyllm.generation.answering import exact_matches
from tinyllm.generation.writing import generate
from tinyllm.system.cache import home
from tinyllm.text import tinywiki
from tinyllm.text.dialogues import Dialogue
from tinyllm.text.turns import Turns

TUNING = 200  # the chapter's own steps of fine-tuning
LENGTHS = {f"{TUNING * times} steps": TUNING * times for times in TIMES}
WAYS = {
    "full": (1e-3, {"batch_size": 2}),
    "lora": (5e-3, {"batch_size": 2, "lora": 8}),
    "mixed": (1e-3, {"batch_size": 3}),
    "honest": (1e-3, {"batch_size": 4}),
}
ARTICLES = tinywiki.articles("test")[:60]


def documents(way: str) -> list[str]:
    """What the chapter trains on, in this way."""
    talk: list[str] = [*ask("article", "train", 900), *ask("world", "train", 100)]
    old = [article.text for article in tinywiki.generate(500, "train")]
    untold = ask("unanswerable", "train", 500)
    return {"full": talk, "lora": talk, "mixed": talk + old, "honest": talk + untold + old}[way]


@cache
def answerer(way: str, steps: int, seed: int) -> tinyllm.Run:
    """The base model of this seed, fine-tuned in this way for so many steps; an honest one goes on from a mixed one."""
    base = answerer("mixed", steps, seed) if way == "honest" else trained(STEPS, seed)
    folder = home() / f"answerer-{way}-{steps}-{seed}"
    path = Path(f"{folder}.jsonl")
    rows = [getattr(document, "messages", document) for document in documents(way)]
    lines = [row if isinstance(row, str) else [turn._asdict() for turn in row] for row in rows]
    path.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines), encoding="utf-8")
    rate, settings = WAYS[way]
    return tinyllm.train(
        "quickstart", data=str(path), dialogues=True, init_from=str(base.folder), run_folder=str(folder), seed=seed,
        max_iterations=steps, evaluation_interval=steps, max_learning_rate=rate, min_learning_rate=rate / 10,
        progress=False, **settings,
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
    def more(run: tinyllm.Run) -> float:
        return right(run, ask("world", "train", 48)) - right(run, ask("world", "test", 12))

    evidence.larger("share right: world facts asked in training minus never asked", by_length(more, "full"))


@pytest.mark.claim("13.full_against_lora")
def test_lora_answers_less_well_here(evidence):
    def more(full: tinyllm.Run, lora: tinyllm.Run) -> float:
        facts = ("town", "profession", "deed", "birth")
        return right_about(full, *facts) - right_about(lora, *facts)

    evidence.larger("share right about facts told twice: full minus LoRA of rank 8", by_length(more, "full", "lora"))


# What it forgets


@pytest.mark.claim("13.forgetting")
def test_fine_tuning_on_dialogues_alone_forgets_articles(evidence):
    for way in ("full", "lora"):
        lost = by_length(lambda run: nats(run) - nats(base_of(run)), way)
        evidence.larger(f"nats per token of articles, {way}: after minus before", lost)


@pytest.mark.claim("13.mixing_keeps")
def test_old_text_mixed_in_keeps_what_was_known(evidence):
    kept = by_length(lambda full, mixed: nats(full) - nats(mixed), "full", "mixed")
    evidence.larger("nats per token of articles: dialogues alone minus with old text", kept)
    lost = by_length(lambda run: nats(run) - nats(base_of(run)), "mixed")
    evidence.between("nats per token of articles with old text: after minus before", lost, -0.1, 0.1)


# What it makes up, and how sure it is


def makes_up(run: tinyllm.Run) -> float:
    return 1 - right(run, ask("unanswerable", "test", 100))


def holds_back(run: tinyllm.Run) -> float:
    silence = ask("unanswerable", "test", 1)[0].messages[1]
    return right(run, [Dialogue([told.messages[0], silence]) for told in ask("article", "test", 100)])


@pytest.mark.claim("13.learns_to_say_so")
def test_dialogues_without_an_answer_teach_to_say_so_and_cost_some_answers(evidence):
    fewer = by_length(lambda mixed, honest: makes_up(mixed) - makes_up(honest), "mixed", "honest")
    evidence.larger("share of unanswerable questions with an answer made up: without minus with such dialogues", fewer)
    evidence.between("share of answerable questions held back", by_length(holds_back, "honest"), 0, 0.5)


def overconfidence(run: tinyllm.Run) -> float:
    """The mean confidence of the greedy answers, less the share of them that is right."""
    dialogues = ask("article", "test", 100) + ask("unanswerable", "test", 100)
    turns = Turns.of(run.tokenizer)
    assert turns is not None
    config = GenerationConfig(maximum_length=24, temperature=0.0)
    confidences = []
    for dialogue in dialogues:
        start = run.tokenizer.encode_messages(dialogue.messages[:1])
        prompt = [turns.document, *start, turns.assistant]
        answer = torch.cat(list(generate(run.model, torch.tensor([prompt]), config))).tolist()
        end = next((place for place, token in enumerate(answer) if token in turns), len(answer) - 1) + 1
        ids = torch.tensor([*prompt, *answer[:end]])
        with torch.no_grad():
            log_p = run.model(ids[None, :-1])[0].log_softmax(-1)[len(prompt) - 1 :]
        confidences.append(math.exp(log_p.gather(1, ids[len(prompt) :, None]).sum().item()))
    return sum(confidences) / len(confidences) - right(run, dialogues)


@pytest.mark.claim("13.overconfident")
def test_it_is_surer_than_it_may_be(evidence):
    evidence.larger("mean confidence minus share right", by_length(overconfidence, "honest"))
