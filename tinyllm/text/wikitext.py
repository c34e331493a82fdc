"""WikiText from the Hugging Face Hub, with a clear error where the Hub cannot be reached.

Source: Merity et al., "Pointer Sentinel Mixture Models" (2016).
"""

from collections.abc import Iterator
from functools import partial

from tinyllm.text.corpus import Corpus
from tinyllm.text.documents import split_articles
from tinyllm.text.hub_datasets import WAYS_OUT, hub_rows, load_from_hub
from tinyllm.text.rows import row_lines, row_texts

HUB_NAME = "Salesforce/wikitext"
HUB_CORPORA = ("wikitext-103-raw-v1", "wikitext-103-v1", "wikitext-2-raw-v1", "wikitext-2-v1")


def wikitext_corpus(name: str) -> Corpus:
    """One of `HUB_CORPORA`. It is downloaded when its documents are first read.

    Reading raises ConnectionError where the Hub cannot be reached, ValueError where it has no column of text.
    """
    splits = {split: partial(_documents, name, split) for split in ("train", "validation", "test")}
    return Corpus(f"{HUB_NAME}/{name}", splits)


def _documents(name: str, split: str) -> Iterator[str]:
    what = f"{HUB_NAME} {name}"
    rows = hub_rows(load_from_hub(what, HUB_NAME, name, split=split), "text", what, WAYS_OUT)
    return split_articles(row_lines(row_texts(rows, "text", what)))
