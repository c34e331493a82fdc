"""Questions about TinyWiki, beside the articles they come from."""

import re

import pytest

from tinyllm.course.questions import KINDS, UNKNOWN, ask
from tinyllm.text import tinywiki
from tinyllm.text.articles import Article
from tinyllm.text.tinywiki_grammar import WORLD

SPLITS = ("train", "test")
ARTICLES = {article.text.split("\n\n")[1]: article for article in tinywiki.articles("test")}  # by first sentence


def asked(kind: str, split: str = "test", number: int = 150, seed: int = 0) -> list[tuple[str, str]]:
    dialogues = ask(kind, split, number, seed)
    assert [[message.role for message in dialogue.messages] for dialogue in dialogues] == [
        ["user", "assistant"]
    ] * number
    return [(dialogue.messages[0].content, dialogue.messages[1].content) for dialogue in dialogues]


def excerpt_of(question: str) -> str:
    return question[: question.rindex(" . ") + 3]


def first_sentence(question: str) -> str:
    return question[: question.index(" . ") + 3]


def article_of(question: str) -> Article:
    return ARTICLES[first_sentence(question)]


def test_an_excerpt_is_the_first_sentence_and_one_part_of_its_article():
    for question, _ in asked("article") + asked("unanswerable"):
        other = excerpt_of(question).split(" . ", 1)[1]
        assert other in article_of(question).text.replace("\n", "")


def test_what_is_told_is_answered_in_the_articles_words():
    for question, answer in asked("article"):
        excerpt = excerpt_of(question)
        told = [value for value in article_of(question).choices.values() if value in answer and value in excerpt]
        assert told, (question, answer)
        assert answer.startswith(" ")
        assert answer.endswith(" .")


# What a question asks for, by its words, and what an excerpt that tells it has.
TELLS = {"child": "children of", "animal": " called ", "dread": "lived in dread of", "die": " died "}


@pytest.mark.parametrize(("kind", "told"), [("article", True), ("unanswerable", False)])
def test_an_unanswerable_question_asks_what_the_excerpt_does_not_tell(kind, told):
    seen = set()
    for question, answer in asked(kind):
        excerpt = excerpt_of(question)
        wanted = [word for word in TELLS if re.search(rf"\b{word}\b", question.removeprefix(excerpt))]
        seen.update(wanted)
        for word in wanted:
            assert (TELLS[word] in excerpt) == told, question
        assert (answer == UNKNOWN) != told
        assert told or wanted, question
    assert seen == set(TELLS)


def test_the_world_answers_without_an_article():
    facts = {it: fact for _, rule in (WORLD["river"], WORLD["subject"]) for it, fact in rule.items()}
    for split in SPLITS:
        for question, answer in asked("world", split):
            [it] = [it for it in facts if f"{it} " in question]
            assert facts[it] in answer


def test_what_is_asked_later_is_not_learned():
    learned, later = ({first_sentence(question) for question, _ in asked("article", split, 200)} for split in SPLITS)
    assert len(learned) == len(later) == 200
    assert not learned & later
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
