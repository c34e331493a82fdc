"""From the name of a text to the text: TinyWiki, WikiText, or your own files."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tinyllm.system.paths import user_path
from tinyllm.system.validation import near_names
from tinyllm.text import tinywiki
from tinyllm.text.articles import Article
from tinyllm.text.corpus import Corpus
from tinyllm.text.local_files import local_corpus
from tinyllm.text.wikitext import HUB_CORPORA, wikitext_corpus


def load_corpus(data: str) -> Corpus:
    """Find the text that `data` names: a corpus, a file, or a folder.

    TINYLLM_DATA, if set, is read instead of the Hub. Nothing is downloaded before documents are read.
    Raises FileNotFoundError for a path or name that does not exist, ValueError for a folder that is ambiguous.
    """
    stands_in = os.environ.get("TINYLLM_DATA") if data in HUB_CORPORA else None
    data = stands_in or data
    if data in tinywiki.CORPORA:
        return _tinywiki_corpus(data)
    if data in HUB_CORPORA:
        return wikitext_corpus(data)
    path = user_path(data)
    if not path.exists():
        names = [*tinywiki.CORPORA, *HUB_CORPORA]
        raise FileNotFoundError(f"no file or folder {data!r}, and no corpus of that name{near_names(data, names)}")
    corpus = local_corpus(path.resolve())
    # The Hub's validation text is for the end of a run. What stands in for it is used in the same way.
    return dataclasses.replace(corpus, watched_by=None) if stands_in else corpus


def _tinywiki_corpus(name: str) -> Corpus:
    articles = {split: partial(tinywiki.articles, split, tinywiki.CORPORA[name]) for split in tinywiki.SPLITS}
    documents = {split: partial(_texts, read) for split, read in articles.items()}
    return Corpus(f"{name} {tinywiki.VERSION} {tinywiki.SPLITS}", documents, articles)


def _texts(articles: Callable[[], Sequence[Article]]) -> Iterator[str]:
    return (article.text for article in articles())
