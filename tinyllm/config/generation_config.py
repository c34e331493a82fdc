"""How text is sampled."""

from collections.abc import Iterable
from dataclasses import dataclass

from tinyllm.system.validation import (
    LARGEST,
    is_whole,
    plain,
    require,
    require_number,
    require_positive,
    require_seed,
    require_whole,
)


@dataclass(frozen=True)
class GenerationConfig:
    """How text is sampled."""

    maximum_length: int = 200
    """The most tokens to add."""
    temperature: float = 1.0
    """Divides the logits: below 1 is more cautious, above 1 more daring, 0 always takes the likeliest token."""
    top_k: int | None = None
    """Draw only from the k likeliest tokens."""
    top_p: float | None = None
    """Draw only from the fewest likeliest tokens whose probabilities add up to this (nucleus sampling)."""
    stop_tokens: tuple[int, ...] | None = None
    """Ids that end the text; by default the document separator; () for none."""
    stop: tuple[str, ...] = ()
    """Strings that end the text; it is cut before the first of them that is written after the prompt."""
    seed: int | None = None
    """The same seed draws the same text; by default each call draws a new one."""

    def __post_init__(self) -> None:
        require_whole(self, 0, 10**9, "maximum_length")
        require_number(self, 0, LARGEST, "temperature")
        usable = self.temperature == 0 or self.temperature >= 1e-6  # smaller ones overflow float32
        require(usable, "temperature", self.temperature, "0, or 1e-6 or more")
        if self.top_k is not None:
            require_whole(self, 1, 10**9, "top_k")
        if self.top_p is not None:
            require_positive(self, "top_p", most=1)
        if self.stop_tokens is not None:
            if isinstance(self.stop_tokens, Iterable):
                object.__setattr__(self, "stop_tokens", tuple(map(plain, self.stop_tokens)))
            several = isinstance(self.stop_tokens, tuple) and all(is_whole(i) and i >= 0 for i in self.stop_tokens)
            require(several, "stop_tokens", self.stop_tokens, "a tuple of ids")
        if isinstance(self.stop, str | list):
            object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        strings = isinstance(self.stop, tuple) and all(isinstance(stop, str) and stop for stop in self.stop)
        require(strings, "stop", self.stop, "a tuple of strings that are not empty")
        if self.seed is not None:
            require_seed(self, "seed")
