"""Which fact each token tells, beside the article's own text."""

import pytest
import torch

from tinyllm import GPT
from tinyllm.course.facts import SOURCES, lookups, mentions, nats_by_fact
from tinyllm.evaluation import evaluate_articles, label_tokens
from tinyllm.text import tinywiki
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tinywiki_grammar import WORLD

ARTICLES = tinywiki.articles("test")[:6]


@pytest.fixture(scope="module")
def tokenizer():
    return SubWordTokenizer.train([article.text for article in tinywiki.articles("validation")], 400)


def test_each_facts_tokens_spell_it(tokenizer):
    for article in ARTICLES:
        ids = tokenizer.encode(article.text)
        told = mentions(article, tokenizer, ids)
        for fact in ("town", "birth", "surname"):
            spelled = "".join(
                tokenizer.decode([token]) for token, at in zip(ids, told, strict=True) if at and at.fact == fact
            )
            assert set(spelled.replace(article.choices[fact], "|")) <= {"|", " "}
            assert spelled.count(article.choices[fact]) >= 2


def test_known_are_the_tokens_labelled_recall_and_world(tokenizer):
    for article in ARTICLES:
        ids = tokenizer.encode(article.text)
        known = [bool(at and at.known) for at in mentions(article, tokenizer, ids)]
        assert known == [label in ("recall", "world") for label in label_tokens(article, tokenizer, ids)]


def test_a_lookup_stands_before_a_fact_and_knows_where_it_was_told(tokenizer):
    article = ARTICLES[0]
    ids = tokenizer.encode(article.text)
    text = [tokenizer.end_of_text_id, *ids]
    found = list(lookups(article, tokenizer, ids))
    assert {lookup.fact for lookup in found} == set(SOURCES)
    river = next(lookup for lookup in found if lookup.fact == "river")
    assert tokenizer.decode(text[: river.position + 1]).rstrip().endswith(" on the River")
    assert tokenizer.decode([text[s] for s in river.sources]).split() == 2 * article.choices["town"].split()
    for lookup in found:
        assert lookup.sources
        assert max(lookup.sources) <= lookup.position
        rest = tokenizer.decode(text[lookup.position + 1 :]).lstrip()
        value = WORLD[lookup.fact][1][article.choices[WORLD[lookup.fact][0]]] if lookup.fact in WORLD else None
        assert rest.startswith(value or article.choices.get(lookup.fact, ("He", "She", "he", "she")))


def test_the_nats_are_those_of_the_kinds_split_further(tokenizer, tiny_config):
    torch.manual_seed(0)
    model = GPT(tiny_config.__class__(**vars(tiny_config) | {"vocab_size": tokenizer.vocab_size}))
    by_fact = nats_by_fact(model, tokenizer, ARTICLES)
    counts = dict.fromkeys(SOURCES, 0)
    for article in ARTICLES:
        for at in mentions(article, tokenizer, tokenizer.encode(article.text)):
            if at and at.known:
                counts[at.fact] += 1
    by_label = evaluate_articles(model, tokenizer, ARTICLES).by_label
    total = sum(by_fact[fact] * counts[fact] for fact in SOURCES)
    assert total == pytest.approx(by_label["recall"]["nats"] + by_label["world"]["nats"], rel=1e-5)


def test_a_full_article_is_refused(tokenizer):
    (article,) = tinywiki.generate(1, full=True)
    with pytest.raises(ValueError, match="form"):
        mentions(article, tokenizer, tokenizer.encode(article.text))
