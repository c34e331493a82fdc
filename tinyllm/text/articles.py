"""Articles whose surprise is known exactly, because they were generated from known probabilities."""

from dataclasses import dataclass

LABELS = ("grammar", "choice", "recall", "world")


@dataclass(frozen=True)
class Span:
    """A piece of an article.

    `nats` is the cost even to a writer who knows everything: -log p of the draw for a `choice`, 0 for other labels.
    `forgotten` is what a `recall` costs a writer who forgets the fact and draws it again.
    """

    text: str
    label: str
    nats: float = 0.0
    forgotten: float = 0.0


@dataclass(frozen=True)
class Article:
    """An article: what was drawn for it (`choices`, by field), and its labelled spans."""

    choices: dict[str, str]
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        return "".join(span.text for span in self.spans)

    @property
    def nats(self) -> float:
        """-log p of this article: its exact surprise, in nats."""
        return sum(span.nats for span in self.spans)

    @property
    def forgetful_nats(self) -> float:
        """The surprise of the forgetful writer, who draws every recalled fact again, in nats."""
        return sum(span.nats + span.forgotten for span in self.spans)
