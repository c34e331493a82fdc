"""TinyWiki: an encyclopedia of people who never lived, whose entropy is known exactly.

Each article is a short biography in WikiText's format. A grammar says how it is written: fixed words, and
fields in braces. The first mention of a field *draws* it from a known distribution, a later mention *recalls*
it, and a few fields follow from another one by a rule of this *world* (a town lies on its river). So every
draw can be read back from the text, and the surprise -log p of an article is known to the last digit: no
model can have a lower loss on average. That is the floor.

Source of the idea of a known floor: Shannon, "Prediction and Entropy of Printed English" (1951).
"""

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from tinyllm.text.articles import Article, Span
from tinyllm.text.tinywiki_grammar import FIELDS, SHORT, WORKS_AND_LEGACY, WORLD, Branch, Draw

VERSION = 1  # goes up when the same seed gives other articles
SPLITS = {"train": 16_000, "validation": 200, "test": 200}  # number of articles
CORPORA = {"tinywiki": False, "tinywiki-full": True}  # name of the corpus -> whether its articles are full ones


def _grammar(full: bool) -> tuple[str | Branch, ...]:
    return SHORT + WORKS_AND_LEGACY if full else SHORT


@cache
def _pieces(template: str) -> list[str]:
    """Split a template: fixed words at even places, field names at odd ones."""
    return re.split(r"\{(\w+)\}", template)


def _derived_probability(name: str, value: str) -> float:
    """How likely the rule `name` is to give `value` when the field it follows from is drawn again."""
    source, rule = WORLD[name]
    draw = FIELDS[source]
    return sum(p for option, p in zip(draw.options, draw.probabilities(), strict=True) if rule[option] == value)


def _write(choose: Callable[[str, Sequence[str], Sequence[float]], int], full: bool) -> Article:
    """Walk the grammar once; `choose(field, options, probabilities)` picks an option at each draw."""
    choices: dict[str, str] = {}
    costs: dict[str, float] = {}  # -log p of each fact set so far
    spans: list[Span] = []

    def draw(name: str, distribution: Draw) -> None:
        options, probabilities = distribution.possible(choices), distribution.probabilities()
        picked = choose(name, options, probabilities)
        choices[name], costs[name] = options[picked], -math.log(probabilities[picked])
        spans.append(Span(options[picked], "choice", costs[name]))

    def mention(name: str) -> None:
        if name in WORLD:
            source, rule = WORLD[name]
            value = rule[choices[source]]
            if name in costs:
                spans.append(Span(value, "recall", forgotten=costs[name]))
            else:
                costs[name] = -math.log(_derived_probability(name, value))
                spans.append(Span(value, "world"))
        elif name in choices:
            spans.append(Span(choices[name], "recall", forgotten=costs[name]))
        else:
            draw(name, FIELDS[name])

    def expand(template: str) -> None:
        for place, piece in enumerate(_pieces(template)):
            if place % 2:
                mention(piece)
            elif piece:
                spans.append(Span(piece, "grammar"))

    for part in _grammar(full):
        if isinstance(part, Branch):
            draw(part.name, part.draw())
            expand(part.continuations[choices[part.name]])
        else:
            expand(part)
    return Article(choices, tuple(spans))


def generate(number: int, seed: int | str = 0, full: bool = False) -> Iterator[Article]:
    """Yield `number` articles; the same seed gives the same ones.

    Short articles have a lead and a life; `full` ones also have works and a legacy.
    """
    source = random.Random(f"tinywiki {seed}")

    def choose(name: str, options: Sequence[str], probabilities: Sequence[float]) -> int:
        return source.choices(range(len(options)), probabilities)[0]

    for _ in range(number):
        yield _write(choose, full)


@cache
def articles(split: str, full: bool = False) -> tuple[Article, ...]:
    """The articles of the split "train", "validation" or "test". No text stands in two of them (tested)."""
    return tuple(generate(SPLITS[split], split, full))


def render(choices: dict[str, str], full: bool = False) -> Article:
    """Write the article in which these choices were drawn. Raises ValueError for a choice that cannot be."""

    def choose(name: str, options: Sequence[str], probabilities: Sequence[float]) -> int:
        if choices.get(name) not in options:
            raise ValueError(f"{choices.get(name)!r} cannot be drawn for {name!r}; one of {list(options)[:5]} ... can")
        return options.index(choices[name])

    return _write(choose, full)


@cache
def _form(full: bool) -> tuple[re.Pattern[str], list[str]]:
    """A regular expression for the form of an article, and the name behind each of its groups."""
    names: list[str] = []

    def words(name: str) -> list[str]:
        if name in WORLD:
            return sorted(set(WORLD[name][1].values()))
        return [r"\d{4}"] if FIELDS[name].shift else [re.escape(option) for option in FIELDS[name].options]

    def pattern(template: str) -> str:
        result = ""
        for place, piece in enumerate(_pieces(template)):
            if place % 2:
                names.append(piece)
                result += f"({'|'.join(words(piece))})"
            else:
                result += re.escape(piece)
        return result

    def fork(branch: Branch) -> str:
        ways = []
        for opening, continuation in branch.continuations.items():
            names.append(branch.name)
            ways.append(f"({re.escape(opening)})" + pattern(continuation))
        return f"(?:{'|'.join(ways)})"

    parts = [fork(part) if isinstance(part, Branch) else pattern(part) for part in _grammar(full)]
    return re.compile("".join(parts)), names


def read(text: str, full: bool = False) -> list[tuple[str, str]]:
    """Read every mention of every field, in order, as (field, words), whether or not they agree.

    This asks only for the form of an article; `parse` also asks that recalled and world facts are right.
    Raises ValueError where the text has another form.
    """
    form, names = _form(full)
    found = form.fullmatch(text)
    if found is None:
        raise ValueError(f"not the form of a TinyWiki article: {text[:60]!r} ...")
    return [(name, words) for name, words in zip(names, found.groups(), strict=True) if words is not None]


def parse(text: str, full: bool = False) -> Article:
    """Read an article back from its text alone: `parse(article.text) == article`.

    Raises ValueError where the text could not have been generated.
    """
    choices: dict[str, str] = {}
    for name, words in read(text, full):
        if name not in WORLD:
            choices.setdefault(name, words)
    article = render(choices, full)
    if article.text != text:
        wrong = next(place for place, (a, b) in enumerate(zip(article.text, text, strict=False)) if a != b)
        raise ValueError(f"expected {article.text[wrong : wrong + 30]!r}, got {text[wrong : wrong + 30]!r}")
    return article


FIRST_SENTENCE = ("given", "surname", "birth", "death", "profession", "town", "deed")


def recalled_facts(text: str) -> tuple[int, int]:
    """Count how often a fact of the first sentence is mentioned again, and how often it is unchanged.

    Returns (unchanged, mentioned again). Raises ValueError for a text that has neither the form of a short article nor
    that of a full one.
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


def entropy(full: bool = False) -> float:
    """The entropy of an article in nats, in closed form.

    Draws that follow each other add up; a fork adds the entropy of its opening and the mean over its ways. It
    equals the mean of `Article.nats` (Shannon, "A Mathematical Theory of Communication", 1948, section 6).
    """
    drawn: set[str] = set()

    def new_fields(template: str) -> set[str]:
        return set(_pieces(template)[1::2]) - set(WORLD) - drawn

    total = 0.0
    for part in _grammar(full):
        if isinstance(part, Branch):
            ways = [new_fields(way) for way in part.continuations.values()]  # mentioned nowhere after the fork
            total += part.draw().entropy()
            total += sum(FIELDS[name].entropy() for way in ways for name in way) / len(ways)
        else:
            new = new_fields(part)
            drawn |= new
            total += sum(FIELDS[name].entropy() for name in new)
    return total
