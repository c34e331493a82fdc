"""Questions about TinyWiki. An article or its world has the one right answer, so nobody has to judge.

The user shows an excerpt: the first sentence of an article and one of its other parts. Of what they say an
"article" question asks, and an "unanswerable" one of what they do not. A "world" question shows no excerpt: on which
river a town lies is the same in all articles. A fifth of the towns and professions is never asked about in "train".
"""

import random
from collections.abc import Iterator
from itertools import cycle, islice
from typing import NamedTuple

from tinyllm.text import tinywiki
from tinyllm.text.articles import Article
from tinyllm.text.dialogues import Dialogue, Message
from tinyllm.text.tinywiki_grammar import WORLD

KINDS = ("article", "world", "unanswerable")
UNKNOWN = " The article does not say ."
"""The right answer to an unanswerable question."""


class _Asked(NamedTuple):
    """How to ask for a field that one part of an article tells, and the answer."""

    part: int
    questions: tuple[str, str]
    answer: str


_ARTICLE = {
    "birth": _Asked(
        0, ("When was {surname} born ?", "In what year was {given} {surname} born ?"), "{surname} was born in {birth} ."
    ),
    "town": _Asked(
        0, ("What town was {surname} from ?", "From what town was {given} {surname} ?"), "{surname} was from {town} ."
    ),
    "profession": _Asked(
        0, ("What was {surname} ?", "What was {given} {surname} in life ?"), "{surname} was {profession} ."
    ),
    "deed": _Asked(
        0, ("What was {surname} known for ?", "For what was {given} {surname} famous ?"),
        "{surname} was known for {deed} .",
    ),
    "parent": _Asked(
        1, ("Whose child was {surname} ?", "{given} {surname} was the child of whom ?"),
        "{surname} was of the children of {parent} .",
    ),
    "pet": _Asked(
        2, ("What was the animal called ?", "What did {given} {surname} call the animal ?"),
        "The {animal} was called {pet} .",
    ),
    "dread": _Asked(
        2, ("What did {surname} dread ?", "In dread of what did {given} {surname} live ?"),
        "{surname} lived in dread of {dread} .",
    ),
    "cause": _Asked(
        3, ("How did {surname} die ?", "How did {given} {surname} come to die ?"), "{surname} died {cause} ."
    ),
}  # fmt: skip
_WORLD = {
    "river": (("On what River is {it} ?", "In {it} , what is the River ?"), "{it} is on the River {fact} ."),
    "subject": (("What did {it} study ?", "To become {it} , what did one study ?"), "In life {it} studied {fact} ."),
}


def ask(kind: str, split: str, number: int, seed: int = 0) -> list[Dialogue]:
    """So many dialogues, each a question of this kind and its answer, in an order that the seed decides.

    `split` is TinyWiki's "train", "validation" or "test". Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    draw = random.Random(f"{kind}, {split}, {seed}")
    if kind == "world":
        facts = list(_world(split == "train"))
        return list(islice(cycle(draw.sample(facts, len(facts))), number))
    articles = tinywiki.articles(split)
    chosen = islice(cycle(draw.sample(articles, len(articles))), number)
    return [_of_article(article, kind == "article", draw) for article in chosen]


def _of_article(article: Article, answerable: bool, draw: random.Random) -> Dialogue:
    shown = (0, draw.choice((1, 2, 3)))
    excerpt = "".join(part for index, part in enumerate(_parts(article)) if index in shown)
    said = [field for field, asked in _ARTICLE.items() if asked.part in shown and field in article.choices]
    asked = _ARTICLE[draw.choice(said if answerable else [field for field in _ARTICLE if field not in said])]
    question = draw.choice(asked.questions).format_map(article.choices)
    return _dialogue(excerpt + question, " " + asked.answer.format_map(article.choices) if answerable else UNKNOWN)


def _parts(article: Article) -> list[str]:
    """The first sentence, birth and studies, the habit, the death."""
    _, first, _, life, _ = article.text.split("\n\n")
    born, studied, habit, died, _ = life.replace("\n ", "").split(" . ")
    return [f"{part} . " for part in (first.removesuffix(" . "), f"{born.strip()} . {studied}", habit.strip(), died)]


def _world(training: bool) -> Iterator[Dialogue]:
    for field, (questions, answer) in _WORLD.items():
        for index, (it, fact) in enumerate(WORLD[field][1].items()):
            if (index % 5 != 3) == training:
                for question in questions:
                    yield _dialogue(question.format(it=it), " " + answer.format(it=it, fact=fact))


def _dialogue(question: str, answer: str) -> Dialogue:
    return Dialogue([Message("user", question), Message("assistant", answer)])
