"""Articles of known surprise: the text and the sums of its spans."""

import dataclasses

import pytest

from tinyllm.text.articles import LABELS, Article, Span

SPANS = (
    Span(" = Zoë = \n\n ", "grammar"),
    Span("Zoë", "choice", nats=1.25),
    Span(" met ", "grammar"),
    Span("Zoë", "recall", forgotten=1.25),
    Span(" , who was ", "grammar"),
    Span("tall", "choice", nats=0.5),
    Span(" . \n\n", "world"),
)
ARTICLE = Article({"name": "Zoë", "size": "tall"}, SPANS)


def test_the_text_is_the_spans_joined():
    assert ARTICLE.text == " = Zoë = \n\n Zoë met Zoë , who was tall . \n\n"
    assert Article({}, ()).text == ""


def test_the_surprise_is_what_its_choices_cost():
    assert ARTICLE.nats == 1.75
    assert Article({}, ()).nats == 0


def test_the_forgetful_writer_also_pays_for_each_recalled_fact():
    assert ARTICLE.forgetful_nats == 3.0


def test_labels_are_four_and_spans_cost_nothing_unless_told():
    assert LABELS == ("grammar", "choice", "recall", "world")
    assert {span.label for span in SPANS} == set(LABELS)
    assert (SPANS[0].nats, SPANS[0].forgotten) == (0, 0)


def test_an_article_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ARTICLE.spans = ()
