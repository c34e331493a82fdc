"""What a learner reads, in lines that fit a notebook beside a file browser."""

import textwrap
from functools import partial

WIDTH = 88


def say(text: str) -> None:
    """Print a text as `wrapped` has it."""
    print(wrapped(text))


def wrapped(text: str) -> str:
    """A text with its long lines wrapped between words, as far in as they began; no word is broken."""
    fill = partial(textwrap.fill, width=WIDTH, break_long_words=False, break_on_hyphens=False)
    indents = (line[: len(line) - len(line.lstrip())] for line in text.splitlines())
    pairs = zip(text.splitlines(), indents, strict=True)
    return "\n".join(fill(line, subsequent_indent=indent) for line, indent in pairs)
