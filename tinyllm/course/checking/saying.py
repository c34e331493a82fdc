"""Prints what a learner reads, in lines that fit a notebook beside a file browser."""

import textwrap

WIDTH = 88


def wrapped(text: str) -> str:
    """A text with its long lines wrapped between words, as far in as they began; no word is broken."""
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines.append(
            textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        )
    return "\n".join(lines)


def say(text: str) -> None:
    """Print a text, wrapped."""
    print(wrapped(text))
