"""Text to token ids and back: what all tokenizers share, and the two simplest, characters and words.

All tokenizers have `encode`, `decode`, `vocab_size`, `end_of_text_id`, `save` and `fingerprint`; `load_tokenizer` loads
any of them from its JSON file.
"""

import hashlib
import json
import operator
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import regex
from jaxtyping import UInt

from tinyllm.system.files import read_json
from tinyllm.system.paths import user_path
from tinyllm.text.bpe import SPACE_CUT, check_text, read_pieces, special_pattern, whole_words
from tinyllm.text.dialogues import ROLES, Dialogue, Message

END_OF_TEXT = "<|endoftext|>"
AllowedSpecial = Literal["all"] | Collection[str]


class Tokenizer:
    """What all tokenizers share.

    A subclass has `kind`, `vocab_size`, `_encode_ordinary`, `decode`, `to_json` and `from_json`.
    """

    kinds: ClassVar[dict[str, type["Tokenizer"]]] = {}
    """All subclasses by their `kind`: how `load_tokenizer` finds them."""
    kind: ClassVar[str]
    vocab_size: int
    special_tokens: dict[str, int]
    _cut: ClassVar[regex.Pattern[str]] = SPACE_CUT
    """Where a text may be cut without changing its ids (`whole_words`)."""

    def __init_subclass__(cls) -> None:
        Tokenizer.kinds[cls.kind] = cls

    @property
    def end_of_text_id(self) -> int:
        """The id of `<|endoftext|>`, which precedes each document."""
        return self.special_tokens[END_OF_TEXT]

    def encode(self, text: str, allowed_special: AllowedSpecial = ()) -> list[int]:
        """Turn text into ids. `<|endoftext|>` in the text is ordinary text, unless `allowed_special` contains it.

        `allowed_special` is a list of special tokens, or "all" of them. Where two could begin, the longer one does.
        Raises ValueError for a lone surrogate, or an unknown special token in `allowed_special`; TypeError for what is
        no string.
        """
        check_text(text)
        allowed = self._allowed(allowed_special)
        if not allowed:
            return self._encode_ordinary(text)
        ids, start = [], 0
        for match in special_pattern(allowed).finditer(text):
            ids += [*self._encode_ordinary(text[start : match.start()]), self.special_tokens[match.group()]]
            start = match.end()
        return ids + self._encode_ordinary(text[start:])

    def encode_iterable(self, texts: Iterable[str], allowed_special: AllowedSpecial = ()) -> Iterator[int]:
        """Yield the ids of a text that comes in pieces, such as an open file: those `encode` gives for the whole text.

        Holds one piece and the longest word, so the text need not fit into memory. Raises as `encode` does.
        """
        allowed = self._allowed(allowed_special)
        for text in whole_words(texts, allowed, self._cut):
            yield from self.encode(text, allowed)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts, none with special tokens."""
        return [self.encode(text) for text in texts]

    def encode_documents(self, texts: Sequence[str]) -> UInt[np.ndarray, " N"]:
        """The ids of many texts one after another, each preceded by the id of `<|endoftext|>`.

        Raises ValueError for a `Dialogue` if this tokenizer has no tokens for its roles.
        """
        plain = iter(self.encode_batch([text for text in texts if not isinstance(text, Dialogue)]))
        every = (self.encode_messages(text.messages) if isinstance(text, Dialogue) else next(plain) for text in texts)
        return np.array([token for ids in every for token in (self.end_of_text_id, *ids)], np.uint32)

    def encode_messages(self, messages: Iterable[Message]) -> list[int]:
        """The ids of the turns of a dialogue, each preceded by that of its role.

        Raises ValueError if this tokenizer has no tokens for roles.
        """
        ids: list[int] = []
        for role, content in messages:
            if ROLES[role] not in self.special_tokens:
                raise ValueError(f"this tokenizer has no token {ROLES[role]}: train with dialogues=True (--dialogues)")
            ids += [self.special_tokens[ROLES[role]], *self.encode(content)]
        return ids

    def _encode_ordinary(self, text: str) -> list[int]:
        raise NotImplementedError

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text. Raises ValueError for an id outside the vocabulary."""
        raise NotImplementedError

    def decode_stream(self, ids: Iterable[int], before: int) -> Iterator[str]:
        """Decode ids as they arrive; `before` is the id before the first, which may decide if a space is needed."""
        for token in ids:
            yield self.decode([before, token])[len(self.decode([before])) :]
            before = token

    def to_json(self) -> dict[str, Any]:
        """Everything needed to rebuild this tokenizer."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Tokenizer":
        """The inverse of `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write the tokenizer, with its whole vocabulary, as one JSON file."""
        user_path(path).write_text(json.dumps(self.to_json(), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a tokenizer saved by `save`. Raises ValueError if the file contains another kind."""
        tokenizer = load_tokenizer(path)
        if not isinstance(tokenizer, cls):
            raise ValueError(f"{path} contains a {tokenizer.kind} tokenizer, not a {cls.kind} one")
        return tokenizer

    @property
    def fingerprint(self) -> str:
        """A hash of the whole vocabulary: two tokenizers with the same fingerprint give the same ids."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raise ValueError if no model with `vocab_size` tokens can have been trained with this tokenizer."""
        if vocab_size != self.vocab_size:
            raise ValueError(
                f"the model has {vocab_size} tokens and the tokenizer {self.vocab_size}: "
                "use the tokenizer that was saved with the model"
            )

    def _allowed(self, allowed_special: AllowedSpecial) -> Collection[str]:
        if allowed_special == "all":
            return tuple(self.special_tokens)
        if isinstance(allowed_special, str):
            raise ValueError(f"allowed_special must be 'all' or a list of special tokens, not {allowed_special!r}")
        for token in allowed_special:
            if token not in self.special_tokens:
                raise ValueError(
                    f"{token!r} is not a special token here; the special tokens are: {', '.join(self.special_tokens)}"
                )
        return allowed_special

    def _check_ids(self, ids: Iterable[int]) -> list[int]:
        ids = list(ids.tolist() if hasattr(ids, "tolist") else ids)  # an array of numpy or torch
        for index, token in enumerate(ids):
            try:
                ids[index] = operator.index(token)
            except TypeError:
                raise ValueError(f"{token!r} is not an id: ids are whole numbers") from None
            if not 0 <= ids[index] < self.vocab_size:
                raise ValueError(f"id {token} is outside this vocabulary of {self.vocab_size} tokens")
        return ids


class CharacterTokenizer(Tokenizer):
    """One id per character, plus `<|endoftext|>`: the simplest lossless tokenizer."""

    kind = "character"

    def __init__(self, characters: str):
        check_text(characters)
        self.characters = "".join(sorted(set(characters)))
        self._ids = {character: index for index, character in enumerate(self.characters)}
        self.special_tokens = {END_OF_TEXT: len(self.characters)}
        self.vocab_size = len(self.characters) + 1

    @classmethod
    def train(cls, source: str | Path | Iterable[str | Path]) -> "CharacterTokenizer":
        """Collect the characters of text (`str`), a file (`Path`), or any mix of them in a list or generator."""
        return cls("".join(set().union(*map(set, read_pieces(source)))))

    def _encode_ordinary(self, text: str) -> list[int]:
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise ValueError(f"the character {error.args[0]!r} was not in this tokenizer's training text") from None

    def decode(self, ids: Iterable[int]) -> str:
        tokens = [*self.characters, END_OF_TEXT]
        return "".join(tokens[token] for token in self._check_ids(ids))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "characters": self.characters}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "CharacterTokenizer":
        return cls(content["characters"])


class WordTokenizer(Tokenizer):
    """One id per word between white space, one per line end, `<unk>` for every unknown word.

    Words are counted as in WikiText's papers. `decode` puts one space between words, so the exact white space
    is lost, and so is every unknown word.
    """

    kind = "word"
    UNKNOWN = "<unk>"

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        if len(set(self.words)) < len(self.words) or any(self.split(word) != [word] for word in self.words):
            raise ValueError("not a vocabulary of words: a word appears twice, or contains white space")
        self._tokens = [*self.words, self.UNKNOWN, END_OF_TEXT]
        self._ids = {word: index for index, word in enumerate(self.words)}
        self.special_tokens = {END_OF_TEXT: len(self.words) + 1}
        self.vocab_size = len(self._tokens)

    @staticmethod
    def split(text: str) -> list[str]:
        """Split text at white space; a line end is a word of its own."""
        return re.findall(r"\n|[^\s]+", text)

    @classmethod
    def train(cls, source: str | Path | Iterable[str | Path], vocab_size: int | None = None) -> "WordTokenizer":
        """Keep the most frequent words of text, files, or a mix of them; ties go to the word that sorts first."""
        counts: Counter[str] = Counter()
        for piece in read_pieces(source):
            counts.update(cls.split(piece))
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

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": self.words}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "WordTokenizer":
        return cls(content["words"])


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read any tokenizer saved by `save`. Raises ValueError if the file is not one."""
    try:
        content = read_json(user_path(path))
        kind = content["kind"]
        if kind not in Tokenizer.kinds:
            raise ValueError(f"unknown kind {kind!r}")
        tokenizer = Tokenizer.kinds[kind].from_json(content)
        if tokenizer.to_json() != content:
            raise ValueError("its content is not what `save` writes")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a tokenizer file: {error}") from None
    return tokenizer
