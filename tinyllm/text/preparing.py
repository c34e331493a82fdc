"""Writing a corpus as ids, split by split: what is held out apart from what is trained on."""

import itertools
from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from jaxtyping import Int

from tinyllm.config import DataConfig
from tinyllm.system.bars import Bar
from tinyllm.text.corpus import Corpus
from tinyllm.text.dialogues import ROLES, Dialogue
from tinyllm.text.holdout import HELD_OUT, HoldOut, document_size, hold_out
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenized import id_dtype, text_size, tokenized_batches
from tinyllm.text.tokenizer import END_OF_TEXT, CharacterTokenizer, Tokenizer, WordTokenizer

Counts = dict[str, dict[str, int]]
"""For each split, how many "documents", "tokens", "words" and "bytes" it has."""


class Sizes:
    """How large each document is, in bytes, and whether it is a dialogue, which is never cut."""

    def __init__(self) -> None:
        self.bytes, self.dialogues = array("q"), bytearray()

    def add(self, document: str) -> None:
        self.bytes.append(document_size(document))
        self.dialogues.append(isinstance(document, Dialogue))


def write_splits(
    folder: Path, corpus: Corpus, config: DataConfig, vocab_size: int, tokenizer: Tokenizer | None, progress: bool
) -> tuple[Tokenizer, Counts]:
    """Tokenise each split into `folder`, with this tokenizer or else the one that `config` names.

    Raises ValueError for a corpus or a split without text.
    """
    documents = sum(1 for _ in itertools.islice(corpus.documents("train"), 2))
    if documents == 0:
        raise ValueError(f"there is no text in {config.data}")
    if tokenizer is None and config.tokenizer == "gpt2":
        tokenizer = SubWordTokenizer("gpt2").with_roles() if config.dialogues else SubWordTokenizer("gpt2")
    counts: Counts | None = None
    sizes = Sizes()
    if tokenizer is None:
        tokenizer = _learn(corpus, config, vocab_size, _choose(corpus, config, sizes))
    elif documents > 1 and corpus.watched_by is None:
        counts = _in_one_reading(folder, corpus, config, tokenizer, sizes, progress)
    if counts is None:
        held_out, counts = _choose(corpus, config, sizes), {}
        for split in ("train",) if corpus.watched_by else ("train", HELD_OUT):
            side = held_out.side(corpus.documents("train"), split == HELD_OUT)
            counts[split] = _write_split(folder, split, side, tokenizer, progress)
    for split in corpus.splits:
        if split != "train":
            counts[split] = _write_split(folder, split, corpus.documents(split), tokenizer, progress)
    return tokenizer, counts


def _choose(corpus: Corpus, config: DataConfig, sizes: Sizes) -> HoldOut:
    """What to hold out of the training text. Reads it if the sizes of its documents are not known yet."""
    if corpus.watched_by:
        return HoldOut()
    if not sizes.bytes:
        for document in corpus.documents("train"):
            sizes.add(document)
    return hold_out(sizes.bytes, config.validation_fraction, config.split_seed, sizes.dialogues)


def _learn(corpus: Corpus, config: DataConfig, vocab_size: int, held_out: HoldOut) -> Tokenizer:
    """A tokenizer learned from the training text without what is held out.

    A character that it does not know has no token at all, so characters are those of every split.
    """
    if config.tokenizer == "character":
        return CharacterTokenizer.train(document for split in corpus.splits for document in corpus.documents(split))
    documents = held_out.side(corpus.documents("train"), held_out=False)
    try:
        if config.tokenizer == "word":
            return WordTokenizer.train(documents, vocab_size)
        special = (END_OF_TEXT, *ROLES.values()) if config.dialogues else (END_OF_TEXT,)
        return SubWordTokenizer.train(documents, vocab_size, special)
    except ValueError as error:
        raise ValueError(f"{config.data}: {error}") from None


def _in_one_reading(
    folder: Path, corpus: Corpus, config: DataConfig, tokenizer: Tokenizer, sizes: Sizes, progress: bool
) -> Counts | None:
    """Write all documents as "train", then move the held-out ones; None where one of them has to be cut.

    Which ones these are depends on the sizes of all. To measure them first would read the text twice.
    """

    def measured() -> Iterator[str]:
        for document in corpus.documents("train"):
            sizes.add(document)
            yield document

    together = _write_split(folder, "train", measured(), tokenizer, progress)
    held_out = _choose(corpus, config, sizes)
    return _move(folder, together, held_out.whole, sizes.bytes, tokenizer) if held_out.cut is None else None


def _move(
    folder: Path, together: dict[str, int], chosen: frozenset[int], sizes: "array[int]", tokenizer: Tokenizer
) -> Counts:
    """Move the chosen documents out of the training split, which was written with all documents."""
    both = (folder / "train.bin").rename(folder / "both.bin")
    lengths = np.diff(np.load(folder / "train-starts.npy"), append=together["tokens"])
    dtype = np.dtype(id_dtype(tokenizer.vocab_size))
    words = size = 0
    with (
        both.open("rb") as source,
        (folder / "train.bin").open("wb") as train,
        (folder / f"{HELD_OUT}.bin").open("wb") as held_out,
    ):
        for index, length in enumerate(lengths):
            ids = source.read(length * dtype.itemsize)
            if index in chosen:
                held_out.write(ids)
                words += text_size([tokenizer.decode(np.frombuffer(ids, dtype)[1:])])[0]
                size += sizes[index]
            else:
                train.write(ids)
    both.unlink()
    is_held_out = np.isin(np.arange(len(lengths)), list(chosen))
    rest = together["words"] - words, together["bytes"] - size
    return {
        "train": _write_starts(folder, "train", lengths[~is_held_out], *rest),
        HELD_OUT: _write_starts(folder, HELD_OUT, lengths[is_held_out], words, size),
    }


def _write_split(
    folder: Path, split: str, documents: Iterable[str], tokenizer: Tokenizer, progress: bool
) -> dict[str, int]:
    lengths = []
    words = size = 0
    with (
        (folder / f"{split}.bin").open("wb") as file,
        Bar(desc=f"tokenising {split}", unit="B", unit_scale=True, disable=not progress, leave=False) as bar,
        closing(tokenized_batches(documents, tokenizer)) as batches,
    ):
        for batch in batches:
            file.write(batch.tokens.tobytes())
            lengths.append(np.diff(batch.starts, append=len(batch.tokens)))
            words, size = words + batch.words, size + batch.size
            bar.update(batch.size)
    return _write_starts(folder, split, np.concatenate([np.array([], np.int64), *lengths]), words, size)


def _write_starts(
    folder: Path, split: str, lengths: Int[np.ndarray, " documents"], words: int, size: int
) -> dict[str, int]:
    """Write where a split's documents start; returns its counts."""
    if len(lengths) == 0:
        raise ValueError(f"the {split} split has no text")
    ends = np.cumsum(lengths)
    np.save(folder / f"{split}-starts.npy", ends - lengths)
    return {"documents": len(lengths), "tokens": int(ends[-1]), "words": words, "bytes": size}
