"""What `python -m tinyllm write` does: you begin a text, and the model goes on with it, line after line."""

import contextlib
import dataclasses
import sys

from tinyllm.config import GenerationConfig
from tinyllm.pretrained import TrainedModel


def continue_lines(model: TrainedModel, settings: GenerationConfig) -> list[str]:
    """Read a line, print what the model adds to it as it is drawn, and so on; returns the texts.

    Each line begins a new document. An empty line, the end of the input, or Ctrl-C while it waits, ends; Ctrl-C while
    the model writes ends that text only.
    """
    typed = sys.stdin.isatty()
    if typed:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # `input` then has the arrow keys, where the system can
        print("Begin a text, and the model goes on. It has learned to continue, not to answer. An empty line ends.")
    texts = []
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while line := input("> " if typed else "").strip():
            texts.append(_continue(model, line, settings))
            print()
    return texts


def _continue(model: TrainedModel, line: str, settings: GenerationConfig) -> str:
    """Print and return a line and its continuation, or as much of it as there was time for."""
    try:
        pieces = model.stream(line, **dataclasses.asdict(settings))
    except ValueError as error:  # such as a letter that a character vocabulary lacks: the next line may be better
        print(error, file=sys.stderr)
        return line
    text = line
    print(line, end="", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        for piece in pieces:
            print(piece, end="", flush=True)
            text += piece
    print()
    return text
