"""A corpus: documents by split, and for generated text the exact surprise of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tinyllm.text.articles import Article


@dataclass(frozen=True)
class Corpus:
    """Documents by split. `identity` changes when the text does, so that a cache notices."""

    identity: str
    splits: Mapping[str, Callable[[], Iterator[str]]]
    known: Mapping[str, Callable[[], Sequence[Article]]] = field(default_factory=dict)
    """The splits whose documents are articles of known surprise."""
    watched_by: str | None = None
    """The split that is measured during training; if None, a part of the training text is held out for that."""
    reading: str = ""
    """One line for people: which files are read, and which are passed over."""

    def documents(self, split: str) -> Iterator[str]:
        """Read a split's documents one by one. Raises ValueError if there is no such split."""
        if split not in self.splits:
            raise ValueError(
                f"this corpus has no {split} split, only {', '.join(self.splits)}; "
                "to read a file regardless of its name, give the file, not its folder"
            )
        return self.splits[split]()

    def articles(self, split: str) -> Sequence[Article]:
        """A split's documents with their exact surprise, which no model can beat; empty where it is not known."""
        return self.known[split]() if split in self.known else ()
