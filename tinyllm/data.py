"""From documents to batches: tokenise once into files that are read as if they were memory, then cut blocks.

`prepare` writes the ids of a corpus; `Blocks` says which of them make up batch number n. A batch is a pure
function of (seed, n), so a run that resumes needs to remember nothing about its data.
"""

import bisect
import glob
import hashlib
import json
import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm.auto import tqdm

from tinyllm.config import DataConfig
from tinyllm.corpus import Corpus, load_corpus
from tinyllm.files import new_folder, read_json, sha256, write_json
from tinyllm.network import home, not_writable
from tinyllm.tokenizer import SubWordTokenizer, Tokenizer, load_tokenizer

HELD_OUT = "held_out"  # the training articles that only watch
_FORMAT = 1  # goes up when the files of a prepared corpus change
_BATCH = 1 << 22  # characters encoded at a time: this, not the corpus, sets the memory needed


@dataclass(frozen=True)
class TokenizedSplit:
    """One split as ids: `<|endoftext|>`, document, `<|endoftext|>`, document ...

    `starts` holds the place of each separator. `words` counts as WikiText's papers do: what stands between white
    space, plus one per line end. `size` is the text's length in UTF-8 bytes.
    """

    tokens: np.ndarray  # (number of tokens,), uint16 or uint32, memory-mapped
    starts: np.ndarray  # (number of documents,), int64
    words: int
    size: int


@dataclass(frozen=True)
class PreparedData:
    """A corpus as ids: the splits "train" and "held_out", and "validation" and "test" where there are official ones."""

    folder: Path
    tokenizer: Tokenizer
    splits: dict[str, TokenizedSplit]


def prepare(config: DataConfig, vocab_size: int, progress: bool = True) -> PreparedData:
    """Tokenise a corpus, or open what an earlier call left under TINYLLM_HOME.

    Args:
        config: which text, which tokenizer, how many articles to hold out.
        vocab_size: how many tokens to learn where the tokenizer is learned from this text.
        progress: show a bar.

    Raises ValueError for a corpus without text, OSError where the folder cannot be written.
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
        held = FileLock(f"{folder}.lock").acquire()
    except OSError as error:
        raise not_writable(folder.parent, error) from None
    with held:
        for unfinished in folder.parent.glob(f".{glob.escape(folder.name)}-*"):
            shutil.rmtree(unfinished, ignore_errors=True)  # a process was killed while it wrote
        if folder.exists():
            try:
                return _open(folder, recipe)
            except (OSError, ValueError, KeyError, TypeError) as error:
                print(f"preparing {config.data} again: the prepared copy is damaged ({error})")
        with new_folder(folder) as unfinished:
            _write(unfinished, corpus, config, vocab_size, recipe, progress)
        return _open(folder, recipe)


def _open(folder: Path, recipe: dict) -> PreparedData:
    meta = read_json(folder / "meta.json")
    if meta["recipe"] != recipe:
        raise ValueError("it was made from something else")
    if _checksum(meta) != meta["checksum"]:
        raise ValueError("meta.json is not as it was written")
    for name, checksum in meta["checksums"].items():
        if Path(name).name != name or sha256(folder / name) != checksum:
            raise ValueError(f"{name} is not as it was written")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    dtype = np.dtype(_dtype(tokenizer.vocab_size))
    splits = {}
    for split, counts in meta["splits"].items():
        if not {f"{split}.bin", f"{split}-starts.npy"} <= meta["checksums"].keys():
            raise ValueError(f"the split {split!r} has no checksums")
        tokens = np.memmap(folder / f"{split}.bin", dtype, mode="r")
        starts = np.load(folder / f"{split}-starts.npy", mmap_mode="r")
        splits[split] = TokenizedSplit(tokens, starts, counts["words"], counts["bytes"])
    return PreparedData(folder, tokenizer, splits)


def _checksum(meta: dict) -> str:
    content = {name: value for name, value in meta.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _dtype(vocab_size: int) -> type:
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def _write(folder: Path, corpus: Corpus, config: DataConfig, vocab_size: int, recipe: dict, progress: bool) -> None:
    number = sum(1 for _ in corpus.documents("train"))
    if number == 0:
        raise ValueError(f"there is no text in {config.data}")
    held_out = held_out_documents(number, config.validation_fraction, config.split_seed)

    def documents(split: str) -> Iterator[str]:
        if split in ("train", HELD_OUT):
            return _part(corpus.documents("train"), held_out, split == HELD_OUT)
        return corpus.documents(split)

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


def held_out_documents(number: int, fraction: float, seed: int) -> set[int]:
    """Choose which of `number` documents are held out: a seeded sample of `fraction`, at least one.

    A text of a single document has no other to hold out: -1 then asks for its last tenth.
    """
    if number == 1:
        return {-1}
    return set(random.Random(seed).sample(range(number), max(1, round(number * fraction))))


def _part(documents: Iterable[str], held_out: set[int], want_held_out: bool) -> Iterator[str]:
    for place, document in enumerate(documents):
        if held_out == {-1}:
            end = len(document) * 9 // 10
            cut = max(document.rfind("\n", 0, end), document.rfind(" ", 0, end))
            cut = cut if cut > 0 else end  # some scripts put no spaces between words
            yield document[cut:] if want_held_out else document[:cut]
        elif (place in held_out) == want_held_out:
            yield document


def _write_split(folder: Path, split: str, documents: Iterable[str], tokenizer: Tokenizer, progress: bool) -> dict:
    starts, words, size, tokens = [], 0, 0, 0
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
    """The same in memory, for a text that is read once. Raises ValueError if there is none."""
    texts = list(documents)
    if not texts:
        raise ValueError("there is no text to tokenise")
    parts = [[tokenizer.end_of_text_id, *ids] for ids in tokenizer.encode_batch(texts)]
    starts = np.cumsum([0, *map(len, parts[:-1])])
    tokens = np.concatenate([np.array(part, _dtype(tokenizer.vocab_size)) for part in parts])
    return TokenizedSplit(tokens, starts, *text_size(texts))


def text_size(texts: Iterable[str]) -> tuple[int, int]:
    """Words (what stands between white space, plus one per line end) and UTF-8 bytes of some texts."""
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


class Blocks:
    """The blocks of `context_length` tokens that training reads, shuffled anew each epoch.

    They begin "anywhere": the stream is cut from a random offset on, drawn each epoch, so that every token is a target
    once an epoch, the partial blocks at both ends aside. Or each begins at a "document" and runs on into what follows
    it; a longer document is cut into several, and what is too near the end of the text for a whole block begins none.
    Then the model sees documents as it will write them, from their start.
    """

    def __init__(self, split: TokenizedSplit, context_length: int, seed: int = 0, begin: str = "anywhere"):
        self.tokens = split.tokens
        self.context_length = context_length
        self.seed = seed
        spare = len(self.tokens) - context_length  # how many places a block can begin at
        if spare < 1:
            raise ValueError(
                f"the text has {len(self.tokens)} tokens, but a block needs {context_length + 1}: "
                "use more text or a smaller context_length"
            )
        if begin == "document":
            ends = [*split.starts[1:], len(self.tokens)]
            places = [np.arange(start, end, context_length) for start, end in zip(split.starts, ends, strict=True)]
            self.places = np.concatenate(places)
            self.places = self.places[self.places < spare]
            self.offsets = 1
        else:
            self.places = np.arange(0, spare, context_length)
            self.offsets = min(context_length, spare)
        self.spare = spare
        self._ends = [0]  # the number of the block after each epoch, as far as they were asked for
        self._latest = -1, self.places  # the epoch asked for last

    def batch(self, first: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Blocks number `first` to `first + number` of the run: ids and targets, each (number, T), int64."""
        return self._cut([self._place(index) for index in range(first, first + number)])

    def fixed(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Up to `number` blocks spread evenly over the text, the same at each call."""
        chosen = np.linspace(0, len(self.places) - 1, min(number, len(self.places))).astype(int)
        return self._cut(self.places[chosen])

    def _place(self, index: int) -> int:
        while index >= self._ends[-1]:  # an epoch has one block more or less than another, as its offset decides
            self._ends.append(self._ends[-1] + len(self._epoch(len(self._ends) - 1)))
        epoch = bisect.bisect_right(self._ends, index) - 1
        return self._epoch(epoch)[index - self._ends[epoch]]

    def _epoch(self, epoch: int) -> np.ndarray:
        """The places of an epoch's blocks, in the order in which they are read."""
        if self._latest[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            places = self.places + generator.integers(self.offsets)
            self._latest = epoch, generator.permutation(places[places < self.spare])
        return self._latest[1]

    def _cut(self, places: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        blocks = np.stack([self.tokens[place : place + self.context_length + 1] for place in places]).astype(np.int64)
        return blocks[:, :-1], blocks[:, 1:]
