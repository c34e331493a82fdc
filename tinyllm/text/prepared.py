"""A corpus as token ids: tokenised once into files, then memory-mapped."""

import glob
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from tinyllm.config import DataConfig
from tinyllm.system.cache import home, not_writable
from tinyllm.system.files import new_folder, read_json, sha256, write_json
from tinyllm.text.articles import Article
from tinyllm.text.corpus import Corpus
from tinyllm.text.holdout import HELD_OUT, document_size, hold_out
from tinyllm.text.preparing import Counts, write_splits
from tinyllm.text.sources import load_corpus
from tinyllm.text.tokenized import TokenizedSplit, id_dtype
from tinyllm.text.tokenizer import END_OF_TEXT, Tokenizer, load_tokenizer
from tinyllm.text.turns import Turns

_FILES = (".bin", "-starts.npy")  # of each split: its ids, and where its documents start
_FORMAT = 2  # goes up when the files of a prepared corpus change
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedData:
    """A corpus as ids: the split "train", and those of "held_out", "validation" and "test" that it has."""

    folder: Path
    tokenizer: Tokenizer
    splits: dict[str, TokenizedSplit]
    corpus: Corpus
    config: DataConfig
    text_checksum: str
    """Of the ids that are trained on and those that watch: another text, or another share of it, has another one."""

    def articles(self, split: str) -> Sequence[Article]:
        """A split's documents with their exact surprise, as `Corpus.articles`, also for "held_out".

        Empty where the surprise is not known, or where a document was cut in two.
        """
        if split not in ("train", HELD_OUT):
            return self.corpus.articles(split)
        every = self.corpus.articles("train")
        if not every:
            return ()
        sizes = [document_size(article.text) for article in every]
        chosen = hold_out(sizes, self.config.validation_fraction, self.config.split_seed)
        if chosen.cut is not None:
            return ()
        return [article for index, article in enumerate(every) if (index in chosen.whole) == (split == HELD_OUT)]

    @property
    def turns(self) -> Turns | None:
        """What separates the messages of dialogues; None if the tokenizer has no tokens for that."""
        return Turns.of(self.tokenizer)

    @property
    def watching(self) -> str:
        """The split that is measured during training."""
        return _watching(self.splits)

    def summary(self) -> str:
        """What is trained on and what watches, for people; before that, if it matters, a line about the files."""
        train, watching = self.splits["train"], self.splits[self.watching]
        origin = "held out of the same text" if self.watching == HELD_OUT else f"from its own {self.watching} split"
        sentence = f"training on {_amount(train)}; watched by {_amount(watching)}, {origin}"
        return "\n".join(filter(None, [str(self.corpus.reading) if self.corpus.reading.files else "", sentence]))


def _watching(splits: Container[str]) -> str:
    """A corpus that watches itself holds nothing out. (Asked itself, one on the Hub would need the network.)"""
    return HELD_OUT if HELD_OUT in splits else "validation"


def _amount(split: TokenizedSplit) -> str:
    documents = len(split.starts)
    return f"{len(split.tokens):,} tokens in {documents:,} document{'s' if documents > 1 else ''}"


def prepare(
    config: DataConfig, vocab_size: int, progress: bool = True, tokenizer: Tokenizer | None = None
) -> PreparedData:
    """Tokenise a corpus, or open what an earlier call left under TINYLLM_HOME.

    Args:
        config: which text, which tokenizer, what share of the text to hold out.
        vocab_size: how many tokens to learn, if the tokenizer is learned from this text.
        progress: show a progress bar.
        tokenizer: use this one, whatever `config` says: that of a model whose training goes on with this text.

    Raises ValueError for a corpus without text or a tokenizer without `<|endoftext|>`, OSError if the folder cannot be
    written.
    """
    corpus = load_corpus(config.data, config.text_field)
    recipe = {
        "format": _FORMAT,
        "source": corpus.identity,
        "tokenizer": _tokenizer_name(config, vocab_size, tokenizer),
        "validation_fraction": config.validation_fraction,
        "split_seed": config.split_seed,
    }
    folder = home() / "prepared" / _folder_name(config.data, recipe)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock").acquire()
    except OSError as error:
        raise not_writable(folder.parent, error) from None
    with lock:
        for unfinished in folder.parent.glob(f".{glob.escape(folder.name)}-*"):
            shutil.rmtree(unfinished, ignore_errors=True)  # a process was killed while it wrote
        if folder.exists():
            try:
                return _open(folder, recipe, corpus, config)
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.warning(f"preparing {config.data} again: the prepared copy is damaged ({error})")
        with new_folder(folder) as unfinished:
            used, counts = write_splits(unfinished, corpus, config, vocab_size, tokenizer, progress)
            _describe(unfinished, recipe, used, counts)
        return _open(folder, recipe, corpus, config)


def _tokenizer_name(config: DataConfig, vocab_size: int, tokenizer: Tokenizer | None) -> str:
    """What decides the vocabulary, next to the text. Raises ValueError for a tokenizer that cannot be used."""
    if tokenizer is not None:
        if END_OF_TEXT not in tokenizer.special_tokens:
            raise ValueError(f"this {tokenizer.kind} tokenizer has no {END_OF_TEXT}, which separates documents")
        name = f"given {tokenizer.fingerprint}"
    else:
        name = f"{config.tokenizer} {vocab_size}" if config.tokenizer in ("bpe", "word") else config.tokenizer
    return f"{name} with roles" if config.dialogues else name


def _folder_name(data: str, recipe: dict[str, Any]) -> str:
    """A name that every file system takes, whatever the text is called."""
    readable = re.sub(r"[^\w.-]+", "-", Path(data).stem, flags=re.ASCII)[:40].strip("-.") or "data"
    return f"{readable}-{hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]}"


def _describe(folder: Path, recipe: dict[str, Any], tokenizer: Tokenizer, counts: Counts) -> None:
    """Write the tokenizer, and what is in the folder."""
    tokenizer.save(folder / "tokenizer.json")
    checksums = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    meta = {"recipe": recipe, "tokenizer": tokenizer.fingerprint, "splits": counts, "checksums": checksums}
    write_json(folder / "meta.json", meta | {"checksum": _checksum(meta)})


def _open(folder: Path, recipe: dict[str, Any], corpus: Corpus, config: DataConfig) -> PreparedData:
    meta = read_json(folder / "meta.json")
    if meta["recipe"] != recipe:
        raise ValueError("it was made from another text or with other settings")
    if _checksum(meta) != meta["checksum"]:
        raise ValueError("meta.json is not as it was written")
    for name, checksum in meta["checksums"].items():
        if Path(name).name != name or sha256(folder / name) != checksum:
            raise ValueError(f"{name} is not as it was written")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    splits = {}
    for split, counts in meta["splits"].items():
        if not {f"{split}{file}" for file in _FILES} <= meta["checksums"].keys():
            raise ValueError(f"the split {split!r} has no checksums")
        tokens = np.memmap(folder / f"{split}.bin", id_dtype(tokenizer.vocab_size), mode="r")
        starts = np.load(folder / f"{split}-starts.npy", mmap_mode="r")
        splits[split] = TokenizedSplit(tokens, starts, counts["words"], counts["bytes"])
    parts = [f"{split}{file}" for split in ("train", _watching(splits)) for file in _FILES]
    text = hashlib.sha256("".join(meta["checksums"][name] for name in parts).encode()).hexdigest()
    return PreparedData(folder, tokenizer, splits, corpus, config, text)


def _checksum(meta: dict[str, Any]) -> str:
    content = {name: value for name, value in meta.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
