"""WikiText from the Hugging Face Hub, with a clear error where the Hub cannot be reached.

Source: Merity et al., "Pointer Sentinel Mixture Models" (2016).
"""

import os
from collections.abc import Iterator
from functools import partial

from tinyllm.system.hub import check_reachable, hub_endpoint
from tinyllm.text.corpus import Corpus
from tinyllm.text.documents import split_articles
from tinyllm.text.rows import row_lines

HUB_NAME = "Salesforce/wikitext"
HUB_CORPORA = ("wikitext-103-raw-v1", "wikitext-103-v1", "wikitext-2-raw-v1", "wikitext-2-v1")
WAYS_OUT = (
    "give a file or folder with data= / --data, or in TINYLLM_DATA, or train on 'tinywiki', which needs no network"
)


def wikitext_corpus(name: str) -> Corpus:
    """One of `HUB_CORPORA`. It is downloaded when its documents are first read.

    Reading raises ConnectionError where the Hub cannot be reached, ValueError where it has no column of text.
    """
    splits = {split: partial(_documents, name, split) for split in ("train", "validation", "test")}
    return Corpus(f"{HUB_NAME}/{name}", splits)


def _documents(name: str, split: str) -> Iterator[str]:
    return split_articles(_hub_lines(name, split))


def _hub_lines(name: str, split: str) -> Iterator[str]:
    if os.environ.get("HF_HUB_OFFLINE", "0") in ("0", ""):
        check_reachable(hub_endpoint(), f"{HUB_NAME} {name}", WAYS_OUT)
    import datasets

    try:
        rows = datasets.load_dataset(HUB_NAME, name, split=split)
    except Exception as error:  # datasets raises many kinds, and the remedy is the same for all
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConnectionError(
            f"could not load {HUB_NAME} {name} from {hub_endpoint()} ({reason}); {WAYS_OUT}"
        ) from error
    if "text" not in rows.column_names:
        raise ValueError(f"{HUB_NAME} {name} has no column 'text' but {rows.column_names}; {WAYS_OUT}")
    for batch in rows.iter(batch_size=1000):
        yield from row_lines(batch["text"], f"{HUB_NAME} {name}")
