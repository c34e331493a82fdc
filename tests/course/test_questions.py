"""Questions about TinyWiki, beside the articles they come from."""

import re

import pytest

from tinyllm.course.questions import FACTS, KINDS, UNKNOWN, ask
from tinyllm.text import tinywiki
from tinyllm.text.articles import Article
from tinyllm.text.tinywiki_grammar import WORLD

SPLITS = ("train", "test")


def asked(
    kind: str, split: str = "test", number: int = 150, seed: int = 0, fact: str | None = None
) -> list[tuple[str, str]]:
    dialogues = ask(kind, split, number, seed, fact)
    assert [[message.role for message in dialogue.messages] for dialogue in dialogues] == [
        ["user", "assistant"]
    ] * number
    return [(dialogue.messages[0].content, dialogue.messages[1].content) for dialogue in dialogues]


def excerpt_of(question: str) -> str:
    return question[: question.rindex(" . ") + 3]


def articles_with(question: str, split: str = "test") -> list[Article]:
    """Those that its excerpt stands in; a habit may be that of several."""
    excerpt = excerpt_of(question).strip()
    return [article for article in tinywiki.articles(split)[:1600] if excerpt in article.text.replace("\n ", "")]


def test_an_excerpt_is_a_part_of_an_article():
    for question, _ in asked("article") + asked("unanswerable"):
        assert articles_with(question), question


@pytest.mark.parametrize("fact", FACTS)
def test_what_is_told_is_answered_in_the_articles_words(fact):
    for question, answer in asked("article", number=40, fact=fact):
        told = {article.choices.get(fact, "?") for article in articles_with(question)}
        [value] = [value for value in told if value in answer]
        assert value in excerpt_of(question)
        assert answer.startswith(" ")
        assert answer.endswith(" .")


@pytest.mark.parametrize("fact", FACTS)
def test_an_unanswerable_question_asks_what_the_excerpt_does_not_tell(fact):
    tells = {"cause": " died ", "pet": " called "}  # what else an excerpt says where it tells these
    for question, answer in asked("unanswerable", number=40, fact=fact):
        assert answer == UNKNOWN
        assert tells.get(fact, "?") not in excerpt_of(question)
        values = {article.choices.get(fact, "?") for article in articles_with(question)}
        assert any(value not in excerpt_of(question) for value in values), question


def test_the_world_answers_without_an_article():
    facts = {it: fact for _, rule in (WORLD["river"], WORLD["subject"]) for it, fact in rule.items()}
    for split in SPLITS:
        for question, answer in asked("world", split):
            [it] = [it for it in facts if f"{it} " in question]
            assert facts[it] in answer


def test_what_is_asked_later_is_not_learned():
    for question, _ in asked("article", "test", 60):
        if " ( " in question:  # a first sentence, which is an article's own
            assert not articles_with(question, "train")
    learned, later = ({answer for _, answer in asked("world", split)} for split in SPLITS)
    assert len(later) >= 5
    assert len(learned) >= 4 * len(later) - 4
    assert not learned & later


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_what_is_asked_and_how(kind):
    assert asked(kind, seed=1) == asked(kind, seed=1)
    assert asked(kind, seed=1) != asked(kind, seed=2)
    wordings = {
        re.sub(r"[A-Z]\w+", "", question.removeprefix(excerpt_of(question)) if kind != "world" else question)
        for question, _ in asked(kind)
    }
    assert len(wordings) >= 4


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be one of article, world, unanswerable"):
        ask("riddle", "test", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_another_split_is_refused(kind):
    with pytest.raises(ValueError, match="split must be one of train, validation, test, not 'exam'"):
        ask(kind, "exam", 1)


@pytest.mark.parametrize(("kind", "fact"), [("article", "shoe"), ("world", "town")])
def test_another_fact_is_refused(kind, fact):
    with pytest.raises(ValueError, match="fact must be one of town"):
        ask(kind, "test", 1, fact=fact)
