"""Questions about TinyWiki. An article or its world has the one right answer, so nobody has to judge.

The user shows one part of an article. Of what it says an "article" question asks, and an "unanswerable" one of what it
does not. A "world" question shows nothing: on which river a town lies is the same in all articles. A fifth of the towns
and professions is never asked about in "train".
"""

import random
from collections.abc import Iterator
from functools import cache
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
    """How to ask for a field, which parts of an article tell it, and the answer."""

    parts: tuple[int, ...]
    questions: tuple[str, str]
    answer: str


_ARTICLE = {
    "town": _Asked(
        (0, 1), ("What town was {surname} from ?", "From what town was {given} {surname} ?"),
        "{surname} was from {town} .",
    ),
    "profession": _Asked(
        (0, 1), ("What did {surname} become ?", "What was {given} {surname} in life ?"),
        "{surname} became {profession} .",
    ),
    "deed": _Asked(
        (0, 3), ("What was {surname} known for ?", "For what was {given} {surname} famous ?"),
        "{surname} was famous for {deed} .",
    ),
    "birth": _Asked(
        (0, 1), ("When was {surname} born ?", "In what year was {given} {surname} born ?"),
        "{surname} was born in {birth} .",
    ),
    "cause": _Asked(
        (3,), ("How did {surname} die ?", "How did {given} {surname} come to die ?"),
        "{surname} died {cause} .",
    ),
    "pet": _Asked(
        (2,), ("What was the animal of {surname} called ?", "What did {given} {surname} call the animal ?"),
        "{surname} called the animal {pet} .",
    ),
}  # fmt: skip
FACTS = tuple(_ARTICLE)
"""What an article can be asked for. TinyWiki tells the first four twice, so its models can recall them."""
_WORLD = {
    "river": (("On what River is {it} ?", "In {it} , what is the River ?"), "{it} is on the River {fact} ."),
    "subject": (("What did {it} study ?", "To become {it} , what did one study ?"), "In life {it} studied {fact} ."),
}


def ask(kind: str, split: str, number: int, seed: int = 0, fact: str | None = None) -> list[Dialogue]:
    """So many dialogues, each a question of this kind and its answer, in an order that the seed decides.

    `split` is TinyWiki's "train", "validation" or "test"; of articles all questions can be for one of `FACTS`. Raises
    ValueError for another kind, split or fact.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if split not in tinywiki.SPLITS:
        raise ValueError(f"split must be one of {', '.join(tinywiki.SPLITS)}, not {split!r}")
    if fact is not None and (fact not in FACTS or kind == "world"):
        raise ValueError(f"fact must be one of {', '.join(FACTS)}, of an article, not {fact!r}")
    draw = random.Random(f"{kind}, {split}, {seed}")
    if kind == "world":
        facts = list(_world(split == "train"))
        return list(islice(cycle(draw.sample(facts, len(facts))), number))
    articles = cycle(draw.sample(_articles(split), len(_articles(split))))
    asked = (_of_article(article, kind == "article", fact, draw) for article in articles)
    return list(islice(filter(None, asked), number))


@cache
def _articles(split: str) -> tuple[Article, ...]:
    """The first of TinyWiki's, which take a tenth of the time of all."""
    return tuple(tinywiki.generate(min(1600, tinywiki.SPLITS[split]), split))


def _of_article(article: Article, answerable: bool, fact: str | None, draw: random.Random) -> Dialogue | None:
    """A question about a fact, or any; None where it is answerable, and the article does not tell this one."""
    facts = article.choices
    fact = fact or draw.choice([fact for fact in FACTS if fact in facts or not answerable])
    parts, questions, answer = _ARTICLE[fact]
    told = [part for index, part in enumerate(_parts(article)) if index in parts and fact in facts]
    untold = [part for part in _parts(article) if part not in told and facts.get(fact, "?") not in part]
    if not (told if answerable else untold):
        return None
    excerpt, question = draw.choice(told if answerable else untold), draw.choice(questions).format_map(facts)
    return _dialogue(f"{excerpt} {question}", " " + answer.format_map(facts) if answerable else UNKNOWN)


def _parts(article: Article) -> list[str]:
    """The first sentence, birth and studies, the habit, the death."""
    _, first, _, life, _ = article.text.split("\n\n")
    born, studied, habit, died, _ = life.replace("\n ", "").split(" . ")
    return [first.rstrip(), f"{born} . {studied} .", f" {habit.strip()} .", f" {died} ."]


def _world(training: bool) -> Iterator[Dialogue]:
    for field, (questions, answer) in _WORLD.items():
        for index, (it, fact) in enumerate(WORLD[field][1].items()):
            if (index % 5 != 3) == training:
                for question in questions:
                    yield _dialogue(question.format(it=it), " " + answer.format(it=it, fact=fact))


def _dialogue(question: str, answer: str) -> Dialogue:
    return Dialogue([Message("user", question), Message("assistant", answer)])
