"""From the name of a text to the text: TinyWiki, Moby-Dick, WikiText, your own files, or a data set of the Hub."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tinyllm.system.files import sha256
from tinyllm.system.paths import full_path, user_path
from tinyllm.system.validation import near_names
from tinyllm.text import tinywiki
from tinyllm.text.articles import Article
from tinyllm.text.corpus import Corpus, Reading
from tinyllm.text.file_formats import is_path_like
from tinyllm.text.hub_datasets import hub_corpus, is_hub_name
from tinyllm.text.local_files import local_corpus
from tinyllm.text.wikitext import HUB_CORPORA, wikitext_corpus

SHIPPED = {"moby-dick": Path(__file__).with_name("moby_dick.txt.gz")}
"""Texts that come with the package, by name; beside each stands a file that says where it is from."""


def load_corpus(data: str, text_field: str = "text") -> Corpus:
    """Find the text that `data` names: a corpus, a file, a folder, or a data set of the Hub (`hub_corpus`).

    A file or folder goes before a data set of the same name. `text_field` is the column of text in tables.
    TINYLLM_DATA, if set, is read instead of WikiText. Nothing is downloaded before documents or splits are read.
    Raises FileNotFoundError for a path or name that does not exist, ValueError for a folder that is ambiguous or a file
    that cannot be read.
    """
    stands_in = os.environ.get("TINYLLM_DATA") if data in HUB_CORPORA else None
    data = stands_in or data
    if data in tinywiki.CORPORA:
        return _tinywiki_corpus(data)
    if data in HUB_CORPORA:
        return wikitext_corpus(data)
    if data in SHIPPED:
        return _shipped_corpus(data)
    path = user_path(data)
    if path.exists():
        corpus = local_corpus(full_path(path), text_field)
        # The Hub's validation text is for the end of a run. What stands in for it is used in the same way.
        return dataclasses.replace(corpus, watches_itself=False) if stands_in else corpus
    if is_hub_name(data) and not is_path_like(data):
        return hub_corpus(data, text_field)
    names = [*tinywiki.CORPORA, *SHIPPED, *HUB_CORPORA]
    raise FileNotFoundError(f"no file or folder {data!r}, and no corpus of that name{near_names(data, names)}")


def path_from_anywhere(data: str) -> str:
    """`data` as it can be named in any folder: a path that exists made absolute, a corpus's name as it is."""
    try:
        path = user_path(data)
        named = data in (*tinywiki.CORPORA, *SHIPPED, *HUB_CORPORA) or not path.exists()
    except (OSError, ValueError, RuntimeError):  # no path at all: `load_corpus` says so
        named = True
    return data if named else str(full_path(path))


def _shipped_corpus(name: str) -> Corpus:
    """Known by its content: each installation has the file at another place and of another date."""
    file = SHIPPED[name]
    return dataclasses.replace(local_corpus(file), identity=f"{name} {sha256(file)}", reading=Reading())


def _tinywiki_corpus(name: str) -> Corpus:
    articles = {split: partial(tinywiki.articles, split, tinywiki.CORPORA[name]) for split in tinywiki.SPLITS}
    documents = {split: partial(_texts, read) for split, read in articles.items()}
    return Corpus(f"{name} {tinywiki.VERSION} {tinywiki.SPLITS}", documents, articles)


def _texts(articles: Callable[[], Sequence[Article]]) -> Iterator[str]:
    return (article.text for article in articles())
