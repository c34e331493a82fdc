"""Documents to ids on all cores: a batch of documents at a time, in their order."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt

from tinyllm.text.tokenizer import Tokenizer

_BATCH = 1 << 18  # characters encoded at a time: this, not the size of the corpus, decides the memory needed
_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])  # U+3000 is Unicode's last white space
_FIRST_OF_LENGTH = (0, 0x80, 0x800, 0x10000)  # the first characters with 1, 2, 3 and 4 bytes in UTF-8


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


def id_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest type for the ids of a vocabulary."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def tokenize(documents: Iterable[str], tokenizer: Tokenizer) -> TokenizedSplit:
    """Tokenise in memory, for a text that is read once. Raises ValueError if there is none."""
    parts = list(tokenized_batches(documents, tokenizer))
    if not parts:
        raise ValueError("there is no text to tokenise")
    offsets = np.cumsum([0, *(len(part.tokens) for part in parts[:-1])])
    return TokenizedSplit(
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.starts + offset for part, offset in zip(parts, offsets, strict=True)]),
        sum(part.words for part in parts),
        sum(part.size for part in parts),
    )


def tokenized_batches(documents: Iterable[str], tokenizer: Tokenizer) -> Generator[TokenizedSplit, None, None]:
    """Tokenise a stream of documents a batch at a time. Only a few batches are in memory at once.

    Threads suffice: a batch is a few long calls, and tiktoken and NumPy let other threads run Python meanwhile.
    """
    threads = os.cpu_count() or 1
    waiting: deque[Future[TokenizedSplit]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for batch in _batches(documents):
                waiting.append(pool.submit(_tokenize_batch, batch, tokenizer))
                if len(waiting) == 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after an error the rest is of no use


def _tokenize_batch(texts: list[str], tokenizer: Tokenizer) -> TokenizedSplit:
    ids = tokenizer.encode_documents(texts)
    starts = np.flatnonzero(ids == tokenizer.end_of_text_id)  # never an ordinary token
    return TokenizedSplit(ids.astype(id_dtype(tokenizer.vocab_size)), starts, *text_size(texts))


def text_size(texts: Iterable[str]) -> tuple[int, int]:
    """The size of some texts: words (between white space, plus one per line end) and UTF-8 bytes.

    The same as with `split` and `encode`, which would not let other threads run meanwhile.
    """
    words = size = 0
    for batch in _batches(texts):
        codes = np.frombuffer("\n".join(["", *batch]).encode("utf-32-le"), "<u4")
        is_space = _IS_SPACE.take(codes, mode="clip")
        line_ends = int(np.count_nonzero(codes == ord("\n"))) - len(batch)
        words += int(np.count_nonzero(is_space[:-1] & ~is_space[1:])) + line_ends
        size += sum(int(np.count_nonzero(codes >= first)) for first in _FIRST_OF_LENGTH) - len(batch)
    return words, size


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
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
