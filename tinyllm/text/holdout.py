"""The held-out split: documents of the training text that are never trained on, only measured during training."""

import random
from collections.abc import Iterable, Iterator
from typing import TypeVar

HELD_OUT = "held_out"  # the name of the split

Item = TypeVar("Item")


def held_out_documents(count: int, fraction: float, seed: int) -> frozenset[int]:
    """The indices of the documents held out of `count`: a seeded sample of `fraction`, at least one."""
    return frozenset(random.Random(seed).sample(range(count), max(1, round(count * fraction))))


def choose_documents(
    documents: Iterable[Item], count: int, fraction: float, seed: int, held_out: bool
) -> Iterator[Item]:
    """Of `count` documents, the held-out ones or all others, in their order."""
    chosen = held_out_documents(count, fraction, seed)
    return (document for index, document in enumerate(documents) if (index in chosen) == held_out)


def split_documents(documents: Iterable[str], count: int, fraction: float, seed: int, held_out: bool) -> Iterator[str]:
    """As `choose_documents`, but a single document is cut in two, and its last tenth is held out."""
    if count == 1:
        return (_cut(document)[held_out] for document in documents)
    return choose_documents(documents, count, fraction, seed, held_out)


def _cut(document: str) -> tuple[str, str]:
    """The first nine tenths of a document and the rest, cut at a line end or a space."""
    end = len(document) * 9 // 10
    cut = max(document.rfind("\n", 0, end), document.rfind(" ", 0, end))
    cut = cut if cut > 0 else end  # some scripts put no spaces between words
    return document[:cut], document[cut:]
