"""TinyWiki's surprise worked out from the text and the tables of the grammar alone."""

import math

import pytest

from tinyllm.text.tinywiki import read
from tinyllm.text.tinywiki_grammar import FIELDS, SHORT, WORKS_AND_LEGACY, WORLD, Branch

BOTH = pytest.mark.parametrize("full", [False, True], ids=["short", "full"])
FORKS = {part.name: part for part in SHORT + WORKS_AND_LEGACY if isinstance(part, Branch)}
UNLIKELY = 1e-4  # a test of frequencies fails below this p-value; the draws are seeded, so it fails always or never


def weights_of(name: str) -> dict[str, float]:
    """What may be drawn for a field, each with its weight."""
    options = tuple(FORKS[name].continuations) if name in FORKS else FIELDS[name].options
    weights = () if name in FORKS else FIELDS[name].weights
    return dict(zip(options, weights or [1.0] * len(options), strict=True))


def draw_nats(name: str, words: str, facts: dict[str, str]) -> float:
    """-log p of drawing these words, given the facts before."""
    weights = weights_of(name)
    if name in FIELDS and FIELDS[name].shift:
        words = str(int(words) - int(facts[FIELDS[name].shift]))
    for other in FIELDS[name].unlike if name in FIELDS else ():
        del weights[facts[other]]
    return math.log(sum(weights.values())) - math.log(weights[words])


def nats_of_text(text: str, full: bool) -> tuple[float, float]:
    """What a text costs a writer who remembers, and what each further mention costs one who forgets."""
    facts: dict[str, str] = {}
    cost: dict[str, float] = {}
    total = forgotten = 0.0
    for name, words in read(text, full):
        if name in facts:
            forgotten += cost[name]
            continue
        facts[name] = words
        if name in WORLD:
            source, rule = WORLD[name]
            weights = weights_of(source)
            same = sum(weight for option, weight in weights.items() if rule[option] == words)
            cost[name] = math.log(sum(weights.values())) - math.log(same)
        else:
            cost[name] = draw_nats(name, words, facts)
            total += cost[name]
    return total, forgotten
