"""Which tokens of a text with dialogues are learned; the ids alone decide.

An answer is, with the token that ends it: the model learns to answer and to stop, but not to ask. A document without
roles is learned whole, so that dialogues and ordinary text can be mixed.

Source: Ouyang et al., "Training language models to follow instructions with human feedback" (2022).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer

from tinyllm.text.dialogues import ROLES
from tinyllm.text.tokenizer import Tokenizer


class Turns(NamedTuple):
    """The ids that say where a message, or a document, begins."""

    document: int
    system: int
    user: int
    assistant: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Turns | None":
        """Those of a tokenizer; None if it has no roles."""
        ids = [tokenizer.special_tokens.get(token) for token in ROLES.values()]
        return None if None in ids else cls(tokenizer.end_of_text_id, *ids)  # type: ignore[arg-type]

    def learned(self, tokens: Integer[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
        """Which tokens count as targets: answers and what ends them, and documents without roles.

        The tokens before the first mark count: they are taken for a document.
        """
        marks = np.where(np.isin(tokens, self), np.arange(len(tokens)), -1)
        latest = np.maximum.accumulate(np.concatenate([[-1], marks])[:-1])  # before each token
        within = np.where(latest < 0, self.document, tokens[latest])
        in_document = (within == self.document) & ~np.isin(tokens, self[1:])
        learned: Bool[np.ndarray, " N"] = (within == self.assistant) | in_document
        return learned
