"""What `python -m tinyllm write` does: you begin a text, or ask, and the model goes on, line after line."""

import contextlib
import dataclasses
import sys

from tinyllm.config import GenerationConfig
from tinyllm.pretrained import TrainedModel


def continue_lines(model: TrainedModel, settings: GenerationConfig) -> list[str]:
    """Read a line, print what the model adds to it as it is drawn, and so on; returns the texts.

    Each line begins a new document; to a model that has learned from dialogues it is a question, and the text its
    answer. An empty line, the end of the input, or Ctrl-C while it waits, ends; Ctrl-C while the model writes ends that
    text only.
    """
    typed = sys.stdin.isatty()
    if typed:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # `input` then has the arrow keys, where the system can
        learned = (
            "Ask, and the model answers."
            if model.answers
            else ("Begin a text, and the model goes on. It has learned to continue, not to answer.")
        )
        print(f"{learned} An empty line ends.")
    texts = []
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while line := input("> " if typed else "").strip():
            texts.append(_continue(model, line, settings))
            print()
    return texts


def _continue(model: TrainedModel, line: str, settings: GenerationConfig) -> str:
    """Print and return a line and its continuation, or an answer, or as much of it as there was time for."""
    go_on, begun = (model.stream_answer, "") if model.answers else (model.stream, line)
    try:
        pieces = go_on(line, **dataclasses.asdict(settings))
    except ValueError as error:  # such as a letter that a character vocabulary lacks: the next line may be better
        print(error, file=sys.stderr)
        return begun
    text = begun
    print(text, end="", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        for piece in pieces:
            print(piece, end="", flush=True)
            text += piece
    print()
    return text
