"""The held-out split: a part of the training text that is never trained on, only measured during training.

It is chosen by size: about the wanted share of the text in UTF-8 bytes, of which tokens follow, however the text is cut
into documents. Bytes are known before there is a tokenizer, so the same text is held out whatever the tokens are.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tinyllm.text.dialogues import Dialogue

HELD_OUT = "held_out"  # the name of the split
_ENOUGH = 2_000  # bytes: some 500 tokens, about a context, below which a loss says little
_NEAR = 2.5  # whole documents are held out if together they are so many times more or less than wanted
_WORD = 100  # characters among which a space is looked for, if need be


@dataclass(frozen=True)
class HoldOut:
    """Which documents are held out, by index: some of them `whole`, and the end of the one that is `cut`."""

    whole: frozenset[int] = frozenset()
    cut: int | None = None
    share: float = 0.0
    """The share of the cut document that is held out."""

    def side(self, documents: Iterable[str], held_out: bool) -> Iterator[str]:
        """Of all documents, the held-out ones or all others, in their order; of the cut one, its part."""
        for index, document in enumerate(documents):
            if index == self.cut:
                yield cut_document(document, self.share)[held_out]
            elif (index in self.whole) == held_out:
                yield document


def hold_out(sizes: Sequence[int], fraction: float, seed: int, dialogues: Sequence[int] = ()) -> HoldOut:
    """Hold out about `fraction` of the text whose documents have these sizes in bytes.

    Of a short text it is more, so that there is something to score: 2,000 bytes, but not above a tenth. First choice is
    a seeded sample of `fraction` of the documents. Where that is too far from the wanted size, because documents are
    few, or of very different sizes, they are drawn one after another until there are enough. One that is too long for
    what is still missing is cut, and its end held out. A dialogue, for which `dialogues` holds a 1, is never cut: it is
    passed over, unless all are too long. Dialogues and other documents are then drawn apart, and each kind gives its
    own share: together, most dialogues would be held out before there is as much as a book beside them asks for.
    """
    count, total = len(sizes), sum(sizes)
    wanted = max(total * fraction, min(_ENOUGH, total / 10))
    least = wanted / _NEAR
    # Short documents stay whole, up to a quarter of a text which is itself short.
    most = max(min(wanted * _NEAR, wanted + total / 20), min(_ENOUGH, total / 4))
    sample = random.Random(seed).sample(range(count), max(1, round(count * fraction)))
    if least <= sum(sizes[index] for index in sample) <= most:
        return HoldOut(frozenset(sample))
    if any(dialogues) and not all(dialogues):
        return _of_both_kinds(sizes, fraction, seed, dialogues)
    whole, size = set(), 0
    for index in random.Random(seed).sample(range(count), count):
        if size + sizes[index] <= most:
            whole.add(index)
            size += sizes[index]
        elif size >= least:
            break
        elif not any(dialogues):
            return HoldOut(frozenset(whole), index, (wanted - size) / sizes[index])
        if size >= wanted:
            break
    return HoldOut(frozenset(whole)) if whole else HoldOut(cut=index, share=wanted / sizes[index])


def _of_both_kinds(sizes: Sequence[int], fraction: float, seed: int, dialogues: Sequence[int]) -> HoldOut:
    """A share of the dialogues, none where all are too long, and a share of the other documents."""
    texts = [index for index, is_dialogue in enumerate(dialogues) if not is_dialogue]
    talks = [index for index, is_dialogue in enumerate(dialogues) if is_dialogue]
    text = hold_out([sizes[index] for index in texts], fraction, seed)
    talk = hold_out([sizes[index] for index in talks], fraction, seed, [1] * len(talks))
    whole = {texts[place] for place in text.whole} | {talks[place] for place in talk.whole}
    return HoldOut(frozenset(whole), None if text.cut is None else texts[text.cut], text.share)


def document_size(document: str) -> int:
    """A document's size in bytes. A lone surrogate, which is an error once it is tokenised, counts as three."""
    return len(document.encode("utf-8", "surrogatepass"))


def cut_document(document: str, share: float) -> tuple[str, str]:
    """A document but for about its last `share`, and that: cut at a line end, else at a space, where one is near.

    Raises ValueError for a dialogue, which stays whole.
    """
    if isinstance(document, Dialogue):
        raise ValueError("too few dialogues to hold one out: give more, or a validation file of their own beside them")
    end = len(document.rstrip())
    held_out = max(1, round(end * share))
    end -= held_out
    near = max(0, end - max(held_out // 2, _WORD))
    cut = document.rfind("\n", near, end) + 1 or max(0, document.rfind(" ", near, end))
    cut = cut or end  # some scripts put no spaces between words
    return document[:cut], document[cut:]
