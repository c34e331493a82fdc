"""Prints what a learner reads, in lines that fit a notebook beside a file browser."""

import textwrap

WIDTH = 88


def say(text: str) -> None:
    """Print a text with its long lines wrapped between words, as far in as they began; no word is broken."""
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        print(textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))
