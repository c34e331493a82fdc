"""Dialogues as documents: before each message comes a special token that says who speaks::

    <|endoftext|><|user|>When was Agatha Quillwick born?<|assistant|>In 1834.<|endoftext|>

No text can contain such a token: what a user types is ordinary text.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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

    def __getnewargs__(self) -> tuple[tuple[Message, ...]]:  # type: ignore[override]
        """What a copy is made from, also by pickle: the messages, not the filled-in template."""
        return (self.messages,)


def _message(number: int, message: Message | Mapping[str, Any]) -> Message:
    if isinstance(message, Mapping):
        message = Message(message.get("role", ""), message.get("content", ""))
    if not isinstance(message, Message):
        kind = type(message).__name__
        raise ValueError(f"message {number} of a dialogue is {kind}, not a dictionary with a role and content")
    if message.role not in list(ROLES) or not isinstance(message.content, str):
        raise ValueError(
            f"message {number} of a dialogue needs a role ({', '.join(ROLES)}) and content that is text, "
            f"not {message.role!r} and {type(message.content).__name__}"
        )
    return message
