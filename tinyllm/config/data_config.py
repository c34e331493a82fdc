"""Which text a run learns from."""

from dataclasses import dataclass
from typing import Literal

from tinyllm.system.validation import require, require_choice, require_flag, require_number, require_seed

IGNORED = -100
"""A target that does not count, such as a token of a question; the number is that of torch's own loss."""


@dataclass(frozen=True)
class DataConfig:
    """Which text, and how it is cut into tokens."""

    data: str = "wikitext-103-raw-v1"
    """TinyWiki ("tinywiki", "tinywiki-full"), "moby-dick", a WikiText on the Hub, your own file or folder, or a data
    set of the Hub by name ("owner/name", "owner/name:config", "owner/name:config:split")."""
    text_field: str = "text"
    """The column or field of text, where the text is in tables: parquet, JSON, comma- or tab-separated values."""
    tokenizer: Literal["gpt2", "bpe", "character", "word"] = "gpt2"
    """GPT-2's vocabulary, or one learned from this text: byte-pair encoding, all its characters, or its words."""
    dialogues: bool = False
    """Whether rows hold dialogues, lists of messages with a role and content, of which the answers are learned. Their
    column is "messages" unless text_field names another one, which cannot be "text"; a row of plain text in it stays a
    document."""
    block_begin: Literal["anywhere", "document"] = "anywhere"
    """Where training blocks begin: anywhere in the stream, or each at the start of a document that fits the context."""
    validation_fraction: float = 0.01
    """Share of the training text held out to monitor training, where the text has no validation split of its own. Of a
    short text it is more: 2,000 bytes, but not above a tenth."""
    split_seed: int = 0
    """Which documents are held out."""

    def __post_init__(self) -> None:
        require(isinstance(self.data, str) and self.data != "", "data", self.data, "a corpus name or a path")
        is_name = isinstance(self.text_field, str) and self.text_field != ""
        require(is_name, "text_field", self.text_field, "the name of a column")
        require_choice(self, "tokenizer", ("gpt2", "bpe", "character", "word"))
        require_flag(self, "dialogues")
        whole = not self.dialogues or self.tokenizer in ("gpt2", "bpe")
        require(whole, "tokenizer", self.tokenizer, "'gpt2' or 'bpe' with dialogues, whose roles are special tokens")
        if self.dialogues and self.text_field == "text":
            object.__setattr__(self, "text_field", "messages")
        require_choice(self, "block_begin", ("anywhere", "document"))
        require_number(self, 0, 0.5, "validation_fraction")
        require_seed(self, "split_seed")
