"""Which documents of the training text are held out: they are never trained on, only watched."""

import random
from collections.abc import Iterable, Iterator

HELD_OUT = "held_out"  # the name of that split


def held_out_documents(count: int, fraction: float, seed: int) -> frozenset[int]:
    """The indices of the documents held out of `count`: a seeded sample of `fraction`, at least one."""
    return frozenset(random.Random(seed).sample(range(count), max(1, round(count * fraction))))


def split_documents(documents: Iterable[str], count: int, fraction: float, seed: int, held_out: bool) -> Iterator[str]:
    """Those of `count` documents that are held out, or those that are not; of a single document a part."""
    if count == 1:
        for document in documents:
            yield _cut(document)[held_out]
        return
    chosen = held_out_documents(count, fraction, seed)
    for index, document in enumerate(documents):
        if (index in chosen) == held_out:
            yield document


def _cut(document: str) -> tuple[str, str]:
    """The first nine tenths of a document and the rest, cut at a line end or a space."""
    end = len(document) * 9 // 10
    cut = max(document.rfind("\n", 0, end), document.rfind(" ", 0, end))
    cut = cut if cut > 0 else end  # some scripts put no spaces between words
    return document[:cut], document[cut:]
