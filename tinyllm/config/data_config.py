"""Which text a run learns from."""

from dataclasses import dataclass
from typing import Literal

from tinyllm.system.validation import require, require_choice, require_number, require_seed


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
        require_choice(self, "block_begin", ("anywhere", "document"))
        require_number(self, 0, 0.5, "validation_fraction")
        require_seed(self, "split_seed")
