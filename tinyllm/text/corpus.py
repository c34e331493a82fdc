"""A corpus: documents by split, and for generated text the exact surprise of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tinyllm.text.articles import Article

_NAMED = 3  # files passed over that are named in a summary; the rest is counted


@dataclass(frozen=True)
class Reading:
    """Which of the user's files a corpus is read from; as `str`, one line that says so.

    Names are relative to the folder and printable. Hidden files and folders, `__pycache__` and `node_modules` are not
    looked at, and not mentioned.
    """

    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The files read, by split."""
    passed_over: Mapping[str, str] = field(default_factory=dict)
    """The other files, each with the reason."""

    def __str__(self) -> str:
        count = sum(map(len, self.files.values()))
        line = f"{count} file{'s' if count != 1 else ''} read"
        if set(self.files) - {"train"}:
            line += f" ({', '.join(f'{split} {len(files)}' for split, files in self.files.items())})"
        if self.passed_over:
            some = [f"{name} ({reason})" for name, reason in list(self.passed_over.items())[:_NAMED]]
            rest = len(self.passed_over) - len(some)
            line += f"; passed over: {', '.join(some)}{f' and {rest} more' if rest else ''}"
        return line


@dataclass(frozen=True)
class Corpus:
    """Documents by split. `identity` changes when the text does, so that a cache notices."""

    identity: str
    splits: Mapping[str, Callable[[], Iterator[str]]]
    known: Mapping[str, Callable[[], Sequence[Article]]] = field(default_factory=dict)
    """The splits whose documents are articles of known surprise."""
    reading: Reading = Reading()
    """The files it is read from; none for text that is not in files of the user's."""
    watches_itself: bool = False
    """Whether its validation split, if it has one, is measured during training; else part of the training text is."""

    @property
    def watched_by(self) -> str | None:
        """The split that is measured during training; if None, a part of the training text is held out for that."""
        return "validation" if self.watches_itself and "validation" in self.splits else None

    def documents(self, split: str) -> Iterator[str]:
        """Read a split's documents one by one. Raises ValueError if there is no such split."""
        if split not in self.splits:
            raise ValueError(
                f"this corpus has no {split} split, only {', '.join(self.splits)}; "
                "to read a file regardless of its name, give the file, not its folder"
            )
        return self.splits[split]()

    def articles(self, split: str) -> Sequence[Article]:
        """A split's documents with the exact surprise that no model beats on average; empty where it is not known."""
        return self.known[split]() if split in self.known else ()
