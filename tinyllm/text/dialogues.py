"""Dialogues as documents: who speaks is a special token, and only answers are learned.

    <|endoftext|><|user|>When was Agatha Quillwick born?<|assistant|>In 1834.<|endoftext|>

A role's token stands before its message, and no text can contain one: what a user types is ordinary text. So the ids
alone say which targets count. Those of an answer do, with the token that ends it: the model learns to answer and to
stop, and not to ask. Of a document without roles all do, so that dialogues and ordinary text can be mixed.

Source: Ouyang et al., "Training language models to follow instructions with human feedback" (2022).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Integer

if TYPE_CHECKING:
    from tinyllm.text.tokenizer import Tokenizer

ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
"""Who may speak, and the special token that precedes what they say."""


class Message(NamedTuple):
    """One turn of a dialogue."""

    role: str
    content: str


class Dialogue(str):
    """A document with turns. As a string it is its template filled in, as `decode` gives it back."""

    messages: tuple[Message, ...]

    def __new__(cls, messages: Sequence[Message | Mapping[str, Any]]) -> "Dialogue":
        """From messages, or from the {"role": ..., "content": ...} that most data sets hold.

        Raises ValueError for a role that is none, or content that is not text.
        """
        turns = tuple(_message(number, message) for number, message in enumerate(messages, start=1))
        if not turns:
            raise ValueError("a dialogue without messages")
        dialogue = super().__new__(cls, "".join(ROLES[role] + content for role, content in turns))
        dialogue.messages = turns
        return dialogue


def _message(number: int, message: Message | Mapping[str, Any]) -> Message:
    if isinstance(message, Mapping):
        message = Message(message.get("role", ""), message.get("content", ""))
    if message.role not in ROLES or not isinstance(message.content, str):
        raise ValueError(
            f"message {number} of a dialogue needs a role ({', '.join(ROLES)}) and content that is text, "
            f"not {message.role!r} and {type(message.content).__name__}"
        )
    return message


class Turns(NamedTuple):
    """The ids that say where a message, or a document, begins."""

    document: int
    system: int
    user: int
    assistant: int

    @classmethod
    def of(cls, tokenizer: "Tokenizer") -> "Turns | None":
        """Those of a tokenizer; None if it has no roles."""
        ids = [tokenizer.special_tokens.get(token) for token in ROLES.values()]
        return None if None in ids else cls(tokenizer.end_of_text_id, *ids)  # type: ignore[arg-type]

    def learned(self, tokens: Integer[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
        """Which tokens count as targets: answers and what ends them, and documents without roles.

        The tokens before the first mark count: they are taken for a document.
        """
        marks = np.where(np.isin(tokens, self), np.arange(len(tokens)), -1)
        latest = np.maximum.accumulate(np.concatenate([[-1], marks[:-1]]))  # before each token
        within = np.where(latest < 0, self.document, tokens[latest])
        in_document = (within == self.document) & ~np.isin(tokens, self[1:])
        learned: Bool[np.ndarray, " N"] = (within == self.assistant) | in_document
        return learned


def encode_dialogue(messages: Sequence[Message], tokenizer: "Tokenizer") -> list[int]:
    """The ids of some messages, without the separator before them. Raises ValueError if the tokenizer has no roles."""
    if Turns.of(tokenizer) is None:
        raise ValueError("this tokenizer has no tokens for roles: train with dialogues=True (--dialogues)")
    ids: list[int] = []
    for role, content in messages:
        ids += [tokenizer.special_tokens[ROLES[role]], *tokenizer.encode(content)]
    return ids
