"""A corpus as token ids: tokenised once into files, then memory-mapped."""

import glob
import hashlib
import itertools
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Int
from tqdm.auto import tqdm

from tinyllm.config import DataConfig
from tinyllm.system.cache import home, not_writable
from tinyllm.system.files import new_folder, read_json, sha256, write_json
from tinyllm.text.articles import Article
from tinyllm.text.corpus import Corpus
from tinyllm.text.holdout import HELD_OUT, choose_documents, held_out_documents, split_documents
from tinyllm.text.sources import load_corpus
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenized import TokenizedSplit, id_dtype, text_size, tokenized_batches
from tinyllm.text.tokenizer import Tokenizer, load_tokenizer

_FORMAT = 1  # goes up when the files of a prepared corpus change
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedData:
    """A corpus as ids: the splits "train" and "held_out", and "validation" and "test" where there are official ones."""

    folder: Path
    tokenizer: Tokenizer
    splits: dict[str, TokenizedSplit]
    corpus: Corpus
    config: DataConfig

    def articles(self, split: str) -> Sequence[Article]:
        """A split's documents with their exact surprise, as `Corpus.articles`, also for "held_out".

        Empty where the surprise is not known, or where a single document was cut in two.
        """
        if split not in ("train", HELD_OUT):
            return self.corpus.articles(split)
        every = self.corpus.articles("train")
        if len(every) < 2:
            return ()
        fraction, seed = self.config.validation_fraction, self.config.split_seed
        return list(choose_documents(every, len(every), fraction, seed, split == HELD_OUT))


def prepare(config: DataConfig, vocab_size: int, progress: bool = True) -> PreparedData:
    """Tokenise a corpus, or open what an earlier call left under TINYLLM_HOME.

    Args:
        config: which text, which tokenizer, what share of the documents to hold out.
        vocab_size: how many tokens to learn, if the tokenizer is learned from this text.
        progress: show a progress bar.

    Raises ValueError for a corpus without text, OSError if the folder cannot be written.
    """
    corpus = load_corpus(config.data, config.text_field)
    recipe = {
        "format": _FORMAT,
        "source": corpus.identity,
        "tokenizer": config.tokenizer if config.tokenizer == "gpt2" else f"{config.tokenizer} {vocab_size}",
        "validation_fraction": config.validation_fraction,
        "split_seed": config.split_seed,
    }
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    folder = home() / "prepared" / f"{Path(config.data).stem or 'data'}-{key}"
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
            _write(unfinished, corpus, config, vocab_size, recipe, progress)
        return _open(folder, recipe, corpus, config)


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
        if not {f"{split}.bin", f"{split}-starts.npy"} <= meta["checksums"].keys():
            raise ValueError(f"the split {split!r} has no checksums")
        tokens = np.memmap(folder / f"{split}.bin", id_dtype(tokenizer.vocab_size), mode="r")
        starts = np.load(folder / f"{split}-starts.npy", mmap_mode="r")
        splits[split] = TokenizedSplit(tokens, starts, counts["words"], counts["bytes"])
    return PreparedData(folder, tokenizer, splits, corpus, config)


def _checksum(meta: dict[str, Any]) -> str:
    content = {name: value for name, value in meta.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write(
    folder: Path, corpus: Corpus, config: DataConfig, vocab_size: int, recipe: dict[str, Any], progress: bool
) -> None:
    at_most_two = sum(1 for _ in itertools.islice(corpus.documents("train"), 2))
    if at_most_two == 0:
        raise ValueError(f"there is no text in {config.data}")
    tokenizer = _tokenizer(corpus, config, vocab_size)
    tokenizer.save(folder / "tokenizer.json")
    if at_most_two == 1:
        counts = {
            split: _write_split(folder, split, _documents(corpus, config, 1, split), tokenizer, progress)
            for split in ("train", HELD_OUT)
        }
    else:
        together = _write_split(folder, "train", corpus.documents("train"), tokenizer, progress)
        counts = _hold_out(folder, together, config, tokenizer)
    for split in corpus.splits:
        if split != "train":
            counts[split] = _write_split(folder, split, corpus.documents(split), tokenizer, progress)
    checksums = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    meta = {"recipe": recipe, "tokenizer": tokenizer.fingerprint, "splits": counts, "checksums": checksums}
    write_json(folder / "meta.json", meta | {"checksum": _checksum(meta)})


def _tokenizer(corpus: Corpus, config: DataConfig, vocab_size: int) -> SubWordTokenizer:
    """GPT-2's, or one learned from the training text without what is held out."""
    if config.tokenizer == "gpt2":
        return SubWordTokenizer("gpt2")
    count = sum(1 for _ in corpus.documents("train"))
    try:
        return SubWordTokenizer.train(_documents(corpus, config, count, "train"), vocab_size)
    except ValueError as error:
        raise ValueError(f"{config.data}: {error}") from None


def _documents(corpus: Corpus, config: DataConfig, count: int, split: str) -> Iterator[str]:
    """The training text's `count` documents that are in one of its two splits."""
    fraction, seed = config.validation_fraction, config.split_seed
    return split_documents(corpus.documents("train"), count, fraction, seed, split == HELD_OUT)


def _write_split(
    folder: Path, split: str, documents: Iterable[str], tokenizer: Tokenizer, progress: bool
) -> dict[str, int]:
    lengths = []
    words = size = 0
    with (
        (folder / f"{split}.bin").open("wb") as file,
        tqdm(desc=f"tokenising {split}", unit="B", unit_scale=True, disable=not progress, leave=False) as bar,
        closing(tokenized_batches(documents, tokenizer)) as batches,
    ):
        for batch in batches:
            file.write(batch.tokens.tobytes())
            lengths.append(np.diff(batch.starts, append=len(batch.tokens)))
            words, size = words + batch.words, size + batch.size
            bar.update(batch.size)
    return _write_starts(folder, split, np.concatenate([np.array([], np.int64), *lengths]), words, size)


def _hold_out(
    folder: Path, together: dict[str, int], config: DataConfig, tokenizer: SubWordTokenizer
) -> dict[str, dict[str, int]]:
    """Move the held-out documents out of the training split, which was written with all documents.

    Which ones these are depends on how many documents there are. To count them first would read the text twice.
    """
    both = (folder / "train.bin").rename(folder / "both.bin")
    lengths = np.diff(np.load(folder / "train-starts.npy"), append=together["tokens"])
    chosen = held_out_documents(len(lengths), config.validation_fraction, config.split_seed)
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
                document = tokenizer.decode(np.frombuffer(ids, dtype)[1:])
                document_words, document_size = text_size([document])
                words, size = words + document_words, size + document_size
            else:
                train.write(ids)
    both.unlink()
    is_held_out = np.isin(np.arange(len(lengths)), list(chosen))
    rest = together["words"] - words, together["bytes"] - size
    return {
        "train": _write_starts(folder, "train", lengths[~is_held_out], *rest),
        HELD_OUT: _write_starts(folder, HELD_OUT, lengths[is_held_out], words, size),
    }


def _write_starts(
    folder: Path, split: str, lengths: Int[np.ndarray, " documents"], words: int, size: int
) -> dict[str, int]:
    """Write where a split's documents start; returns its counts."""
    if len(lengths) == 0:
        raise ValueError(f"the {split} split has no text")
    ends = np.cumsum(lengths)
    np.save(folder / f"{split}-starts.npy", ends - lengths)
    return {"documents": len(lengths), "tokens": int(ends[-1]), "words": words, "bytes": size}
