"""Byte-level byte-pair encoding as a tokenizer: GPT-2's vocabulary, or one learned from your own text."""

import base64
import codecs
import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken
from jaxtyping import UInt

from tinyllm.text.bpe import CUT, PATTERN, check_text, count_words, learn_merges
from tinyllm.text.byte_level_files import read_vocabulary, write_vocabulary
from tinyllm.text.dialogues import ROLES, Dialogue
from tinyllm.text.gpt2_vocabulary import gpt2_tokens
from tinyllm.text.tokenizer import END_OF_TEXT, Tokenizer


class SubWordTokenizer(Tokenizer):
    """Byte-level byte-pair encoding: GPT-2's, or one learned from your own text. It is lossless.

    Encoding runs in tiktoken. Sources: Sennrich et al., "Neural Machine Translation of Rare Words with Subword
    Units" (2016); Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2.
    """

    kind = "subword"
    _cut = CUT

    def __init__(self, name: str = "gpt2"):
        """Load GPT-2's 50,257 tokens; `train` and `load` give other vocabularies.

        The two vocabulary files are downloaded once, then kept. Raises ConnectionError if that fails.
        """
        if name != "gpt2":
            others = "SubWordTokenizer.train(...), .load(...) or .from_huggingface(...)"
            raise ValueError(f"unknown vocabulary {name!r}: use 'gpt2', {others}")
        self._build(gpt2_tokens(), [END_OF_TEXT])

    @classmethod
    def train(
        cls, source: str | Path | Iterable[str | Path], vocab_size: int, special_tokens: Sequence[str] = (END_OF_TEXT,)
    ) -> "SubWordTokenizer":
        """Learn a vocabulary from text (`str`), a file (`Path`), or any mix of them in a list or generator.

        The ids are the 256 bytes, then the merges in the order they were learned, then the special tokens, which never
        take part in a merge. Text with too few pairs to merge gives fewer tokens than `vocab_size`. Raises ValueError
        for a vocabulary too small for the bytes and special tokens, or for no text.
        """
        _check_special_tokens(special_tokens)
        smallest = 256 + len(special_tokens)
        if vocab_size < smallest:
            raise ValueError(
                f"vocab_size must be at least {smallest} (256 bytes and the special tokens), not {vocab_size}"
            )
        counts = count_words(source, special_tokens)
        if not counts:
            raise ValueError("there is no text to learn a vocabulary from")
        merges = learn_merges(counts, vocab_size - smallest)
        tokenizer = cls.__new__(cls)
        tokenizer._build(
            [bytes([byte]) for byte in range(256)] + [left + right for left, right in merges], special_tokens
        )
        return tokenizer

    @classmethod
    def from_huggingface(cls, path: str | Path, special_tokens: Sequence[str] = (END_OF_TEXT,)) -> "SubWordTokenizer":
        """Read the byte-level BPE tokenizer of Hugging Face's `tokenizers` or `transformers`, or GPT-2's own files.

        `path` is a `tokenizer.json`, or a folder that contains one, or `vocab.json` with `merges.txt` (`encoder.json`
        with `vocab.bpe`). These two do not say which of their tokens are special, so `special_tokens` does.
        `encode(text, allowed_special="all")` gives the ids of `encode(text, add_special_tokens=False)` there.

        Raises ValueError, in one line, for any other kind of tokenizer, and for one without `<|endoftext|>`; OSError
        if the file cannot be read.
        """
        tokenizer = cls.__new__(cls)
        tokenizer._build(*read_vocabulary(Path(path), special_tokens))
        return tokenizer

    def to_huggingface(self, folder: str | Path) -> None:
        """Write `tokenizer.json` (with `tokenizer_config.json`), and `vocab.json` with `merges.txt`, into a folder.

        `transformers.AutoTokenizer.from_pretrained` reads the folder, `tokenizers.Tokenizer.from_file` the first file.
        Raises ValueError for a vocabulary that was not made by merges, OSError if a file cannot be written.
        """
        write_vocabulary(Path(folder), self.tokens, self.special_tokens)

    def with_roles(self) -> "SubWordTokenizer":
        """This vocabulary, and after it the special tokens of dialogues (`ROLES`); itself if it has them."""
        new = [token for token in ROLES.values() if token not in self.special_tokens]
        if not new:
            return self
        tokenizer = type(self).__new__(type(self))
        added = {token: self.vocab_size + index for index, token in enumerate(new)}
        tokenizer._build(self.tokens, self.special_tokens | added)
        return tokenizer

    def _build(self, tokens: Sequence[bytes], special_tokens: Sequence[str] | Mapping[str, int]) -> None:
        """Set up from the byte strings of the ordinary tokens, in the order they were learned.

        The special tokens' ids follow, or are given; then the ordinary ones have all other ids, in order.
        """
        self.tokens = list(tokens)
        _check_special_tokens(special_tokens)
        self.vocab_size = len(self.tokens) + len(special_tokens)
        if not isinstance(special_tokens, Mapping):
            special_tokens = {token: len(self.tokens) + index for index, token in enumerate(special_tokens)}
        self.special_tokens = dict(special_tokens)
        taken = set(self.special_tokens.values())
        free = [index for index in range(self.vocab_size) if index not in taken]
        if len(free) != len(self.tokens):
            raise ValueError(f"the ids of the special tokens are not among the {self.vocab_size} of the vocabulary")
        ranks = dict(zip(self.tokens, free, strict=True))
        if len(ranks) < len(self.tokens) or any(bytes([byte]) not in ranks for byte in range(256)):
            raise ValueError("not a byte-level vocabulary: a token appears twice, or one of the 256 bytes is missing")
        self.encoding = tiktoken.Encoding(
            "tinyllm", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=self.special_tokens
        )

    def _encode_ordinary(self, text: str) -> list[int]:
        return self.encoding.encode(text, disallowed_special=())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        for text in texts:
            check_text(text)
        # `encode_ordinary_batch` panics where this raises ValueError: at a million spaces before a letter.
        return self.encoding.encode_batch(list(texts), num_threads=os.cpu_count() or 1, disallowed_special=())

    def encode_documents(self, texts: Sequence[str]) -> UInt[np.ndarray, " N"]:
        # One call for all texts, during which tiktoken lets other threads run Python. It cuts the text at each
        # separator, so no token spans two documents. Not where another special token may begin with that.
        if len(self.special_tokens) > 1 or any(isinstance(text, Dialogue) for text in texts):
            return super().encode_documents(texts)
        together = END_OF_TEXT.join(["", *texts])
        with contextlib.suppress(UnicodeEncodeError):
            ids = self.encoding.encode_to_numpy(together, allowed_special={END_OF_TEXT}, disallowed_special=())
            if np.count_nonzero(ids == self.end_of_text_id) == len(texts):
                return ids
        # A text contains a lone surrogate, which is an error, or `<|endoftext|>`, which is ordinary text there.
        return super().encode_documents(texts)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Turn ids into bytes. A token may end in the middle of a UTF-8 character."""
        return self.encoding.decode_bytes(self._check_ids(ids))

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text. Bytes that are not UTF-8 become the replacement character U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_stream(self, ids: Iterable[int], before: int) -> Iterator[str]:
        """Decode ids as they arrive, holding back bytes until their character is complete."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in ids:
            if text := decoder.decode(self.decode_bytes([token])):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "SubWordTokenizer":
        tokenizer = cls.__new__(cls)
        tokens = [base64.b64decode(token, validate=True) for token in content["tokens"]]
        tokenizer._build(tokens, content["special_tokens"])
        return tokenizer

    def to_json(self) -> dict[str, Any]:
        tokens = [base64.b64encode(token).decode() for token in self.tokens]
        last = list(range(len(tokens), self.vocab_size))
        special = self.special_tokens
        return {
            "kind": self.kind,
            "tokens": tokens,
            "special_tokens": list(special) if list(special.values()) == last else special,
        }


def _check_special_tokens(special_tokens: Collection[str]) -> None:
    if isinstance(special_tokens, str) or END_OF_TEXT not in special_tokens:
        raise ValueError(f"special_tokens must be a list with {END_OF_TEXT!r}, which separates documents")
    if "" in special_tokens or len(set(special_tokens)) < len(special_tokens):
        raise ValueError(f"a special token is empty or appears twice: {list(special_tokens)}")
