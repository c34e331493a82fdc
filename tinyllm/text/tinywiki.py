"""TinyWiki: an encyclopedia of people who never lived, whose entropy is known exactly.

Each article is a short biography in WikiText's format. A grammar says how it is written: fixed words, and
fields in braces. The first mention of a field *draws* it from a known distribution, a later mention *recalls*
it, and a few fields follow from another one by a rule of this *world* (a town lies on its river). So every
draw can be read back from the text, and the surprise -log p of an article is known to the last digit: no
model can have a lower loss on average. That is the floor (`entropy`).

Source of the idea of a known floor: Shannon, "Prediction and Entropy of Printed English" (1951).
"""

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from tinyllm.text.articles import Article, Span
from tinyllm.text.tinywiki_grammar import FIELDS, WORLD, Branch, Draw, sentences, split_template

VERSION = 1  # goes up when the same seed gives other articles
SPLITS = {"train": 16_000, "validation": 200, "test": 200}  # number of articles
CORPORA = {"tinywiki": False, "tinywiki-full": True}  # name of the corpus -> whether its articles are full ones
FIRST_SENTENCE = ("given", "surname", "birth", "death", "profession", "town", "deed")

Choose = Callable[[str, Sequence[str], Sequence[float]], int]
"""(field, options, their probabilities) -> the index of the chosen option."""


def generate(count: int, seed: int | str = 0, full: bool = False) -> Iterator[Article]:
    """Yield `count` articles; the same seed gives the same ones.

    Short articles have a lead and a life; `full` ones also have works and a legacy.
    """
    source = random.Random(f"tinywiki {seed}")

    def choose(name: str, options: Sequence[str], probabilities: Sequence[float]) -> int:
        return source.choices(range(len(options)), probabilities)[0]

    for _ in range(count):
        yield _Writer(choose).write(full)


@cache
def articles(split: str, full: bool = False) -> tuple[Article, ...]:
    """The articles of the split "train", "validation" or "test". No article is in two splits (tested)."""
    return tuple(generate(SPLITS[split], split, full))


def render(choices: dict[str, str], full: bool = False) -> Article:
    """Write the article in which these choices were drawn. Raises ValueError for a choice that cannot be drawn."""

    def choose(name: str, options: Sequence[str], probabilities: Sequence[float]) -> int:
        if choices.get(name) not in options:
            raise ValueError(f"{choices.get(name)!r} cannot be drawn for {name!r}; one of {list(options)[:5]} ... can")
        return options.index(choices[name])

    return _Writer(choose).write(full)


@cache
def _form(full: bool) -> tuple[re.Pattern[str], list[str]]:
    """A regular expression for the form of an article, and the field name of each of its groups."""
    names: list[str] = []

    def words(name: str) -> list[str]:
        if name in WORLD:
            return sorted(set(WORLD[name][1].values()))
        return [r"\d{4}"] if FIELDS[name].shift else [re.escape(option) for option in FIELDS[name].options]

    def pattern(template: str) -> str:
        result = ""
        for index, piece in enumerate(split_template(template)):
            if index % 2:
                names.append(piece)
                result += f"({'|'.join(words(piece))})"
            else:
                result += re.escape(piece)
        return result

    def fork(branch: Branch) -> str:
        alternatives = []
        for opening, continuation in branch.continuations.items():
            names.append(branch.name)
            alternatives.append(f"({re.escape(opening)})" + pattern(continuation))
        return f"(?:{'|'.join(alternatives)})"

    parts = [fork(part) if isinstance(part, Branch) else pattern(part) for part in sentences(full)]
    return re.compile("".join(parts)), names


def read(text: str, full: bool = False) -> list[tuple[str, str]]:
    """Read every mention of every field, in order, as (field, words), whether or not they agree.

    This checks only the form of an article; `parse` also checks recalled and world facts.
    Raises ValueError if the text has another form.
    """
    form, names = _form(full)
    found = form.fullmatch(text)
    if found is None:
        raise ValueError(f"not the form of a TinyWiki article: {text[:60]!r} ...")
    return [(name, words) for name, words in zip(names, found.groups(), strict=True) if words is not None]


def parse(text: str, full: bool = False) -> Article:
    """Read an article back from its text alone: `parse(article.text) == article`.

    Raises ValueError if the text could not have been generated.
    """
    choices: dict[str, str] = {}
    for name, words in read(text, full):
        if name not in WORLD:
            choices.setdefault(name, words)
    article = render(choices, full)
    if article.text != text:
        wrong = next(index for index, (a, b) in enumerate(zip(article.text, text, strict=False)) if a != b)
        raise ValueError(f"expected {article.text[wrong : wrong + 30]!r}, got {text[wrong : wrong + 30]!r}")
    return article


def recalled_facts(text: str) -> tuple[int, int]:
    """Count how often a fact of the title or the first sentence is mentioned again, and how often it is unchanged.

    Returns (unchanged, mentioned again). Raises ValueError for a text that has the form neither of a short article nor
    of a full one.
    """
    full = _form(True)[0].fullmatch(text) is not None
    first: dict[str, str] = {}
    unchanged = mentioned = 0
    for name, words in read(text, full):
        if name in FIRST_SENTENCE and name in first:
            mentioned += 1
            unchanged += words == first[name]
        first.setdefault(name, words)
    return unchanged, mentioned


class _Writer:
    """Writes one article, asking `choose` at each draw."""

    def __init__(self, choose: Choose):
        self.choose = choose
        self.choices: dict[str, str] = {}
        self.costs: dict[str, float] = {}  # -log p of each fact so far
        self.spans: list[Span] = []

    def write(self, full: bool) -> Article:
        for part in sentences(full):
            if isinstance(part, Branch):
                self._draw(part.name, part.draw())
                self._expand(part.continuations[self.choices[part.name]])
            else:
                self._expand(part)
        return Article(self.choices, tuple(self.spans))

    def _expand(self, template: str) -> None:
        for index, piece in enumerate(split_template(template)):
            if index % 2:
                self._mention(piece)
            elif piece:
                self.spans.append(Span(piece, "grammar"))

    def _mention(self, name: str) -> None:
        if name not in WORLD and name not in self.choices:
            self._draw(name, FIELDS[name])
            return
        if name in WORLD:
            source, rule = WORLD[name]
            value = rule[self.choices[source]]
        else:
            value = self.choices[name]
        if name in self.costs:
            self.spans.append(Span(value, "recall", forgotten=self.costs[name]))
        else:
            self.costs[name] = -math.log(_derived_probability(name, value))
            self.spans.append(Span(value, "world"))

    def _draw(self, name: str, distribution: Draw) -> None:
        options, probabilities = distribution.possible(self.choices), distribution.probabilities()
        index = self.choose(name, options, probabilities)
        self.choices[name], self.costs[name] = options[index], -math.log(probabilities[index])
        self.spans.append(Span(options[index], "choice", self.costs[name]))


@cache
def _derived_probability(name: str, value: str) -> float:
    """How likely the rule `name` is to give `value` when the field it follows from is drawn again."""
    source, rule = WORLD[name]
    draw = FIELDS[source]
    return sum(p for option, p in zip(draw.options, draw.probabilities(), strict=True) if rule[option] == value)
