"""A corpus as token ids: tokenised once into files, then memory-mapped."""

import glob
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Int, UInt
from tqdm.auto import tqdm

from tinyllm.config import DataConfig
from tinyllm.system.cache import home, not_writable
from tinyllm.system.files import new_folder, read_json, sha256, write_json
from tinyllm.text.articles import Article
from tinyllm.text.corpus import Corpus
from tinyllm.text.holdout import HELD_OUT, choose_documents, split_documents
from tinyllm.text.sources import load_corpus
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenizer import Tokenizer, load_tokenizer

_FORMAT = 1  # goes up when the files of a prepared corpus change
_BATCH = 1 << 22  # characters encoded at a time: this, not the size of the corpus, decides the memory needed
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenizedSplit:
    """One split as ids: `<|endoftext|>`, document, `<|endoftext|>`, document ...

    `tokens` is memory-mapped if it comes from `prepare`; `starts` are the indices of the separators. `words` counts as
    WikiText's papers do: words between white space, plus one per line end. `size` is the text's length in UTF-8 bytes.
    """

    tokens: UInt[np.ndarray, " N"]
    starts: Int[np.ndarray, " documents"]
    words: int
    size: int


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
    corpus = load_corpus(config.data)
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
        tokens = np.memmap(folder / f"{split}.bin", _dtype(tokenizer.vocab_size), mode="r")
        starts = np.load(folder / f"{split}-starts.npy", mmap_mode="r")
        splits[split] = TokenizedSplit(tokens, starts, counts["words"], counts["bytes"])
    return PreparedData(folder, tokenizer, splits, corpus, config)


def _checksum(meta: dict[str, Any]) -> str:
    content = {name: value for name, value in meta.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def _write(
    folder: Path, corpus: Corpus, config: DataConfig, vocab_size: int, recipe: dict[str, Any], progress: bool
) -> None:
    count = sum(1 for _ in corpus.documents("train"))
    if count == 0:
        raise ValueError(f"there is no text in {config.data}")

    def documents(split: str) -> Iterator[str]:
        if split not in ("train", HELD_OUT):
            return corpus.documents(split)
        fraction, seed = config.validation_fraction, config.split_seed
        return split_documents(corpus.documents("train"), count, fraction, seed, split == HELD_OUT)

    if config.tokenizer == "gpt2":
        tokenizer = SubWordTokenizer("gpt2")
    else:
        try:
            tokenizer = SubWordTokenizer.train(documents("train"), vocab_size)
        except ValueError as error:
            raise ValueError(f"{config.data}: {error}") from None
    tokenizer.save(folder / "tokenizer.json")
    counts = {}
    for split in ["train", HELD_OUT, *(split for split in corpus.splits if split != "train")]:
        counts[split] = _write_split(folder, split, documents(split), tokenizer, progress)
    checksums = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    meta = {"recipe": recipe, "tokenizer": tokenizer.fingerprint, "splits": counts, "checksums": checksums}
    write_json(folder / "meta.json", meta | {"checksum": _checksum(meta)})


def _write_split(
    folder: Path, split: str, documents: Iterable[str], tokenizer: Tokenizer, progress: bool
) -> dict[str, int]:
    starts: list[int] = []
    tokens = words = size = 0
    dtype = _dtype(tokenizer.vocab_size)
    with (
        (folder / f"{split}.bin").open("wb") as file,
        tqdm(desc=f"tokenising {split}", unit="B", unit_scale=True, disable=not progress, leave=False) as bar,
    ):
        for batch in _batches_of_text(documents):
            for ids in tokenizer.encode_batch(batch):
                starts.append(tokens)
                tokens += len(ids) + 1
                file.write(np.array([tokenizer.end_of_text_id, *ids], dtype).tobytes())
            batch_words, batch_size = text_size(batch)
            words, size = words + batch_words, size + batch_size
            bar.update(batch_size)
    if not starts:
        raise ValueError(f"the {split} split has no text")
    np.save(folder / f"{split}-starts.npy", np.array(starts, np.int64))
    return {"documents": len(starts), "tokens": tokens, "words": words, "bytes": size}


def tokenize(documents: Iterable[str], tokenizer: Tokenizer) -> TokenizedSplit:
    """Tokenise in memory, for a text that is read once. Raises ValueError if there is none."""
    texts = list(documents)
    if not texts:
        raise ValueError("there is no text to tokenise")
    parts = [[tokenizer.end_of_text_id, *ids] for ids in tokenizer.encode_batch(texts)]
    starts = np.cumsum([0, *map(len, parts[:-1])])
    tokens = np.concatenate([np.array(part, _dtype(tokenizer.vocab_size)) for part in parts])
    return TokenizedSplit(tokens, starts, *text_size(texts))


def text_size(texts: Iterable[str]) -> tuple[int, int]:
    """The size of some texts: words (between white space, plus one per line end) and UTF-8 bytes."""
    words = size = 0
    for text in texts:
        words += len(text.split()) + text.count("\n")
        size += len(text.encode("utf-8"))
    return words, size


def _batches_of_text(documents: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
