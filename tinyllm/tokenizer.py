"""Text to token ids and back: characters, words, and byte-pair encoding.

All tokenizers share `encode`, `decode`, `vocab_size`, `end_of_text_id`, `save`, `fingerprint`; `load_tokenizer`
reads any of them back from JSON.
"""

import base64
import codecs
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import tiktoken

from tinyllm.bpe import PATTERN, check_text, count_words, learn_merges
from tinyllm.files import read_json
from tinyllm.network import fetch_gpt2_vocabulary

END_OF_TEXT = "<|endoftext|>"
GPT2_VOCAB_SIZE = 50_257


class Tokenizer:
    """What all tokenizers share. A subclass has `kind`, `vocab_size`, `_encode_ordinary`, `decode` and `to_json`."""

    kind: str
    vocab_size: int
    special_tokens: dict[str, int]

    @property
    def end_of_text_id(self) -> int:
        """The id of `<|endoftext|>`, which stands before each document."""
        return self.special_tokens[END_OF_TEXT]

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Turn text into ids. `<|endoftext|>` written in the text is ordinary text, unless it is allowed here.

        Raises ValueError for a lone surrogate, or an unknown special token in `allowed_special`.
        """
        check_text(text)
        self._check_special(allowed_special)
        texts = text.split(END_OF_TEXT) if allowed_special else [text]
        pieces = [self._encode_ordinary(piece) for piece in texts]
        ids = pieces[0]
        for piece in pieces[1:]:
            ids += [self.end_of_text_id, *piece]
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts, none with special tokens."""
        return [self.encode(text) for text in texts]

    def _encode_ordinary(self, text: str) -> list[int]:
        raise NotImplementedError

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text. Raises ValueError for an id outside the vocabulary."""
        raise NotImplementedError

    def decode_stream(self, ids: Iterable[int], before: int) -> Iterator[str]:
        """Decode ids as they come; `before` is the id in front of them, which may decide on a space."""
        for token in ids:
            yield self.decode([before, token])[len(self.decode([before])) :]
            before = token

    def to_json(self) -> dict:
        """Everything needed to build this tokenizer again."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write the tokenizer, with its whole vocabulary, as one JSON file."""
        Path(path).write_text(json.dumps(self.to_json(), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a tokenizer saved by `save`. Raises ValueError if the file holds another kind."""
        tokenizer = load_tokenizer(path)
        if not isinstance(tokenizer, cls):
            raise ValueError(f"{path} holds a {tokenizer.kind} tokenizer, not a {cls.kind} one")
        return tokenizer

    @property
    def fingerprint(self) -> str:
        """A hash of the whole vocabulary: two tokenizers with the same fingerprint give the same ids."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raise ValueError if a model with `vocab_size` tokens cannot have been trained with this tokenizer."""
        if vocab_size != self.vocab_size:
            raise ValueError(
                f"the model has {vocab_size} tokens and the tokenizer {self.vocab_size}: "
                "use the tokenizer that was saved with the model"
            )

    def _check_special(self, allowed_special: Collection[str]) -> None:
        for token in allowed_special:
            if token not in self.special_tokens:
                raise ValueError(f"{token!r} is not a special token here; these are: {', '.join(self.special_tokens)}")

    def _check_ids(self, ids: Iterable[int]) -> list[int]:
        ids = [int(token) for token in ids]
        for token in ids:
            if not 0 <= token < self.vocab_size:
                raise ValueError(f"id {token} is outside this vocabulary of {self.vocab_size} tokens")
        return ids


class CharacterTokenizer(Tokenizer):
    """One id per character, plus `<|endoftext|>`. The simplest that loses nothing."""

    kind = "character"

    def __init__(self, characters: str):
        check_text(characters)
        self.characters = "".join(sorted(set(characters)))
        self._ids = {character: place for place, character in enumerate(self.characters)}
        self.special_tokens = {END_OF_TEXT: len(self.characters)}
        self.vocab_size = len(self.characters) + 1

    @classmethod
    def train(cls, text: str) -> "CharacterTokenizer":
        """Collect the characters of `text`."""
        return cls(text)

    def _encode_ordinary(self, text: str) -> list[int]:
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise ValueError(f"the character {error.args[0]!r} was not in the text this tokenizer saw") from None

    def decode(self, ids: Iterable[int]) -> str:
        tokens = [*self.characters, END_OF_TEXT]
        return "".join(tokens[token] for token in self._check_ids(ids))

    def to_json(self) -> dict:
        return {"kind": self.kind, "characters": self.characters}


class WordTokenizer(Tokenizer):
    """One id per word between white space, one per line end, `<unk>` for every word it does not know.

    It counts as WikiText's papers count words. `decode` puts one space between words, so the exact white space
    is lost, and so is every unknown word.
    """

    kind = "word"
    UNKNOWN = "<unk>"

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        if len(set(self.words)) < len(self.words) or any(self.split(word) != [word] for word in self.words):
            raise ValueError("not a vocabulary of words: a word stands twice, or holds white space")
        self._tokens = [*self.words, self.UNKNOWN, END_OF_TEXT]
        self._ids = {word: place for place, word in enumerate(self.words)}
        self.special_tokens = {END_OF_TEXT: len(self.words) + 1}
        self.vocab_size = len(self._tokens)

    @staticmethod
    def split(text: str) -> list[str]:
        """Cut text at white space; a line end is a word of its own."""
        return re.findall(r"\n|[^\s]+", text)

    @classmethod
    def train(cls, text: str, vocab_size: int | None = None) -> "WordTokenizer":
        """Keep the most frequent words of `text` (ties: the one that comes first in the alphabet)."""
        check_text(text)
        counts = Counter(cls.split(text))
        del counts[cls.UNKNOWN]
        words = sorted(counts, key=lambda word: (-counts[word], word))
        if vocab_size is not None:
            if vocab_size < 2:
                raise ValueError(f"vocab_size must be at least 2 ({cls.UNKNOWN} and {END_OF_TEXT}), not {vocab_size}")
            words = words[: vocab_size - 2]
        return cls(words)

    def _encode_ordinary(self, text: str) -> list[int]:
        unknown = len(self.words)
        return [self._ids.get(word, unknown) for word in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        text = " ".join(self._tokens[token] for token in self._check_ids(ids))
        return re.sub(r" ?\n ?", "\n", text)

    def to_json(self) -> dict:
        return {"kind": self.kind, "words": self.words}


class SubWordTokenizer(Tokenizer):
    """Byte-level byte-pair encoding: GPT-2's, or one learned from your own text. It loses nothing.

    Encoding runs in tiktoken. Sources: Sennrich et al., "Neural Machine Translation of Rare Words with Subword
    Units" (2016); Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2.
    """

    kind = "subword"

    def __init__(self, name: str = "gpt2"):
        """Load GPT-2's 50,257 tokens; `train` and `load` make other vocabularies.

        The two vocabulary files are downloaded once, then kept. Raises ConnectionError if they cannot be.
        """
        if name != "gpt2":
            raise ValueError(f"unknown vocabulary {name!r}: use 'gpt2', SubWordTokenizer.train(...) or .load(...)")
        fetch_gpt2_vocabulary()
        ranks = tiktoken.get_encoding("gpt2")._mergeable_ranks
        self._build(sorted(ranks, key=ranks.__getitem__), [END_OF_TEXT])

    @classmethod
    def train(
        cls, source: str | Path | Iterable[str | Path], vocab_size: int, special_tokens: Sequence[str] = (END_OF_TEXT,)
    ) -> "SubWordTokenizer":
        """Learn a vocabulary from text (`str`), a file (`Path`), or any mix of them in a list or generator.

        The ids are the 256 bytes, then the merges as they were learned, then the special tokens, which never
        take part in a merge. Text with too few pairs to merge gives fewer tokens than `vocab_size`.
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

    def _build(self, tokens: Sequence[bytes], special_tokens: Sequence[str]) -> None:
        """Set up from the byte strings of the ordinary tokens, in the order in which they were learned."""
        self.tokens = list(tokens)
        ranks = {token: rank for rank, token in enumerate(self.tokens)}
        if len(ranks) < len(self.tokens) or any(bytes([byte]) not in ranks for byte in range(256)):
            raise ValueError("not a byte-level vocabulary: a token stands twice, or one of the 256 bytes is missing")
        _check_special_tokens(special_tokens)
        self.special_tokens = {token: len(ranks) + place for place, token in enumerate(special_tokens)}
        self.vocab_size = len(ranks) + len(self.special_tokens)
        self.encoding = tiktoken.Encoding(
            "tinyllm", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=self.special_tokens
        )

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        check_text(text)
        self._check_special(allowed_special)
        return self.encoding.encode(text, allowed_special=set(allowed_special), disallowed_special=())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        for text in texts:
            check_text(text)
        # `encode_ordinary_batch` panics where this raises: at a million spaces before a letter.
        return self.encoding.encode_batch(list(texts), num_threads=os.cpu_count() or 1, disallowed_special=())

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Turn ids into bytes. A token may end in the middle of a UTF-8 character."""
        return self.encoding.decode_bytes(self._check_ids(ids))

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text. Bytes that are not UTF-8 become the replacement character U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_stream(self, ids: Iterable[int], before: int) -> Iterator[str]:
        """Decode ids as they come, holding back bytes until their character is whole."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in ids:
            if text := decoder.decode(self.decode_bytes([token])):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def to_json(self) -> dict:
        tokens = [base64.b64encode(token).decode() for token in self.tokens]
        return {"kind": self.kind, "tokens": tokens, "special_tokens": list(self.special_tokens)}


def _check_special_tokens(special_tokens: Sequence[str]) -> None:
    if isinstance(special_tokens, str) or END_OF_TEXT not in special_tokens:
        raise ValueError(f"special_tokens must be a list with {END_OF_TEXT!r}, which separates documents")
    if "" in special_tokens or len(set(special_tokens)) < len(special_tokens):
        raise ValueError(f"a special token is empty or stands twice: {list(special_tokens)}")


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read any tokenizer saved by `save`. Raises ValueError if the file is not one."""
    try:
        content = read_json(Path(path))
        tokenizer = _from_json(content)
        if tokenizer.to_json() != content:
            raise ValueError("its content is not as `save` writes it")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a tokenizer file: {error}") from None
    return tokenizer


def _from_json(content: dict) -> Tokenizer:
    kind = content["kind"]
    if kind == CharacterTokenizer.kind:
        return CharacterTokenizer(content["characters"])
    if kind == WordTokenizer.kind:
        return WordTokenizer(content["words"])
    if kind == SubWordTokenizer.kind:
        tokenizer = SubWordTokenizer.__new__(SubWordTokenizer)
        tokens = [base64.b64decode(token, validate=True) for token in content["tokens"]]
        tokenizer._build(tokens, content["special_tokens"])
        return tokenizer
    raise ValueError(f"unknown kind {kind!r}")
