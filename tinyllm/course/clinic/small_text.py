"""The clinic's text: TinyWiki articles, each one row of a batch, to train on and held out."""

from collections.abc import Sequence
from functools import cache

import torch

from tinyllm.course.clinic.small_gpt import VOCABULARY
from tinyllm.probes.report import IGNORED, Batch
from tinyllm.text import tinywiki
from tinyllm.text.articles import Article
from tinyllm.text.subword_tokenizer import SubWordTokenizer

ARTICLES, HELD_OUT_ARTICLES = 900, 24

Rows = Sequence[Sequence[int]]
"""The ids of some articles, separators included."""


@cache
def articles() -> tuple[Article, ...]:
    """All articles, the held-out ones last."""
    return tuple(tinywiki.generate(ARTICLES + HELD_OUT_ARTICLES, seed="clinic"))


@cache
def tokenizer() -> SubWordTokenizer:
    """A small vocabulary, learned from the clinic's articles."""
    return SubWordTokenizer.train([article.text for article in articles()], VOCABULARY)


@cache
def rows() -> list[list[int]]:
    """The ids of each article, with a separator before and after it."""
    end = tokenizer().end_of_text_id
    return [[end, *ids, end] for ids in tokenizer().encode_batch([article.text for article in articles()])]


def honest_split() -> tuple[list[int], list[int]]:
    """The indices of the articles to train on, and of the held-out ones."""
    return list(range(ARTICLES)), list(range(ARTICLES, ARTICLES + HELD_OUT_ARTICLES))


def pad(rows: Rows) -> Batch:
    """Ids, and their targets one position later; short rows are padded with targets that are ignored."""
    longest, end = max(map(len, rows)), rows[0][0]
    ids, targets = [], []
    for row in rows:
        missing = longest - len(row)
        ids.append([*row, *[end] * missing])
        targets.append([*row[1:], *[IGNORED] * (missing + 1)])
    return torch.tensor(ids), torch.tensor(targets)


def one_piece(rows: Rows) -> list[Batch]:
    """The whole batch at once."""
    return [pad(rows)]


def two_pieces(rows: Rows) -> list[Batch]:
    """Two micro-batches, the second one with few tokens: short texts are batched together."""
    return [pad(rows[1:]), pad([rows[0][:12]])]
