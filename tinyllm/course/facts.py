"""The facts of a TinyWiki article, token by token: which one is told, and where it was told before."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tinyllm.evaluation import surprises
from tinyllm.model.gpt import GPT
from tinyllm.text import tinywiki
from tinyllm.text.articles import Article
from tinyllm.text.subword_tokenizer import SubWordTokenizer

SOURCES = {
    "given": "given", "surname": "surname", "birth": "birth", "town": "town", "profession": "profession",
    "death": "death", "deed": "deed", "river": "town", "subject": "profession", "pronoun": "given",
}  # fmt: skip
"""The facts that can be known before they are told, each with the fact that tells it: itself, or another."""


class Mention(NamedTuple):
    """A fact in the text. It is `known` if what stands before settles it: it repeats, or follows from, another."""

    fact: str
    known: bool


class Lookup(NamedTuple):
    """A place where a fact that can be known is told next."""

    fact: str
    position: int
    """Of the token before, in the text with a separator in front."""
    sources: list[int]
    """The positions of the tokens that have told it."""


def mentions(article: Article, tokenizer: SubWordTokenizer, ids: Sequence[int]) -> list[Mention | None]:
    """For each token the fact that its last byte belongs to, if any.

    Raises ValueError if the article is not in the short form.
    """
    fields = iter(name for name, _ in tinywiki.read(article.text))
    by_byte: list[Mention | None] = []
    for span in article.spans:
        told = None
        if span.label != "grammar":
            name = next(fields)
            told = Mention("pronoun" if name in ("He", "he") else name, span.label in ("recall", "world"))
        by_byte += [told] * len(span.text.encode("utf-8"))
    ends = np.cumsum([len(tokenizer.decode_bytes([token])) for token in ids])
    return [by_byte[end - 1] for end in ends]


def lookups(article: Article, tokenizer: SubWordTokenizer, ids: Sequence[int]) -> Iterator[Lookup]:
    """Every place where a known fact begins."""
    told = [None, *mentions(article, tokenizer, ids)]
    for t, mention in enumerate(told):
        if mention and mention.known and mention != told[t - 1]:
            earlier = enumerate(told[:t])
            sources = [s for s, before in earlier if before and before.fact == SOURCES[mention.fact]]
            yield Lookup(mention.fact, t - 1, sources)


def nats_by_fact(model: GPT, tokenizer: SubWordTokenizer, articles: Sequence[Article]) -> dict[str, float]:
    """The model's mean surprise, in nats per token, at each fact that can be known."""
    end = tokenizer.end_of_text_id
    encoded = tokenizer.encode_batch([article.text for article in articles])
    scores: dict[str, list[float]] = {fact: [] for fact in SOURCES}
    for article, ids, nats in zip(
        articles, encoded, surprises(model, [np.array([end, *i]) for i in encoded]), strict=True
    ):
        for mention, value in zip(mentions(article, tokenizer, ids), nats, strict=True):
            if mention and mention.known:
                scores[mention.fact].append(float(value))
    return {fact: float(np.mean(values)) for fact, values in scores.items()}
