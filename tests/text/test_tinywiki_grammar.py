"""TinyWiki's draws against their probabilities."""

import math
import re
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from tinywiki_by_hand import FORKS, UNLIKELY, weights_of

from tinyllm.text.articles import Article
from tinyllm.text.tinywiki_grammar import FIELDS, SHORT, WORLD, Branch, Draw, sentences, split_template


def drawn(name: str, articles: tuple[Article, ...]) -> Counter:
    shift = FIELDS[name].shift if name in FIELDS else ""
    chosen = [article.choices for article in articles if name in article.choices]
    return Counter(str(int(c[name]) - int(c[shift])) if shift else c[name] for c in chosen)


@pytest.mark.parametrize("name", [*FIELDS, *FORKS])
def test_draws_come_as_often_as_their_probability_says(name, some):
    """Draws without replacement too: by symmetry, each of the three works is uniform over all titles."""
    short = {piece for part in SHORT for piece in re.findall(r"\{(\w+)\}", _text_of(part))} | {"habit"}
    counts = drawn(name, some[name not in short])
    weights = weights_of(name)
    assert set(counts) <= set(weights)
    observed = [counts[option] for option in weights]
    expected = np.array(list(weights.values())) / sum(weights.values()) * sum(observed)
    assert sum(observed) > 1000
    assert expected.min() >= 5
    assert stats.chisquare(observed, expected).pvalue > UNLIKELY


def _text_of(part: str | Branch) -> str:
    return part if isinstance(part, str) else "".join(part.continuations.values())


@pytest.mark.parametrize(
    "one, other", [("given", "town"), ("town", "profession"), ("deed", "cause"), ("habit", "parent")]
)
def test_draws_do_not_depend_on_each_other(one, other, some):
    pairs = Counter((article.choices[one], article.choices[other]) for article in some[False])
    table = [[pairs[a, b] for b in weights_of(other)] for a in weights_of(one)]
    assert stats.chi2_contingency(table).pvalue > UNLIKELY


def test_death_follows_birth_by_a_lifespan_that_does_not_depend_on_it(some):
    births = np.array([int(article.choices["birth"]) for article in some[False]])
    spans = np.array([int(article.choices["death"]) for article in some[False]]) - births
    assert (spans.min(), spans.max()) == (40, 79)
    assert stats.pearsonr(births, spans).pvalue > UNLIKELY


def test_works_are_drawn_without_replacement_and_counted_as_such(full_articles):
    titles = FIELDS["first_work"].options
    assert len(set(titles)) == 64
    distances = Counter()
    for article in full_articles:
        works = [article.choices[name] for name in ("first_work", "second_work", "third_work")]
        assert len(set(works)) == 3
        distances[(titles.index(works[1]) - titles.index(works[0])) % 64] += 1
        costs = [
            next(span.nats for span in article.spans if span.text == work and span.label == "choice") for work in works
        ]
        assert costs == pytest.approx([math.log(64), math.log(63), math.log(62)])
    assert stats.chisquare([distances[d] for d in range(1, 64)]).pvalue > UNLIKELY


def test_a_weighted_draw_has_the_probabilities_of_its_weights():
    draw = Draw(("a", "b", "c"), (1.0, 1 / 2, 1 / 3))
    assert [*draw.possible({})] == ["a", "b", "c"]
    assert draw.probabilities() == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    assert draw.entropy() == pytest.approx(stats.entropy([6, 3, 2]))


def test_a_shifted_draw_adds_its_option_to_an_earlier_field():
    draw = Draw(("40", "41"), shift="birth")
    assert draw.possible({"birth": "1850"}) == ["1890", "1891"]
    assert draw.entropy() == pytest.approx(math.log(2))


def test_a_draw_without_replacement_leaves_out_what_was_drawn():
    draw = Draw(("a", "b", "c", "d"), unlike=("first", "second"))
    assert draw.possible({"first": "c", "second": "a", "other": "b"}) == ["b", "d"]
    assert draw.probabilities() == (0.5, 0.5)
    assert draw.entropy() == pytest.approx(math.log(2))


def test_a_branch_draws_its_openings_uniformly():
    branch = Branch("habit", {"Often": " {he} sang . ", "Once": " {he} danced . "})
    assert branch.draw() == Draw(("Often", "Once"))
    assert branch.draw().probabilities() == (0.5, 0.5)


def test_a_template_is_split_into_words_and_fields():
    assert split_template("{He} studied {subject} .") == ["", "He", " studied ", "subject", " ."]
    assert split_template("no field") == ["no field"]


def test_every_field_that_is_mentioned_exists_and_every_field_is_mentioned():
    mentioned = {name for part in sentences(full=True) for name in split_template(_text_of(part))[1::2]}
    assert mentioned == set(FIELDS) | set(WORLD)
    assert sentences(full=True)[: len(sentences(full=False))] == sentences(full=False)


def test_a_rule_of_the_world_covers_every_option_of_its_source():
    for source, rule in WORLD.values():
        assert set(rule) == set(FIELDS[source].options)
