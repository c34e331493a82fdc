"""What commands print: text on any terminal, and JSON for any parser."""

import contextlib
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tinyllm.system.validation import plain

LARGEST_PERPLEXITY = 1e6  # far above any vocabulary: a larger one says only that the text is not predicted


@contextlib.contextmanager
def any_terminal() -> Iterator[None]:
    """Meanwhile, a character that a terminal's encoding lacks is no error: its escape is printed, such as \\u65e5."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            with contextlib.suppress(OSError, ValueError):  # closed meanwhile, at either end
                stream.reconfigure(errors=errors)


def as_json(result: Mapping[str, Any]) -> str:
    """One line of JSON, in ASCII.

    A number that is not finite becomes null, and half of a surrogate pair the replacement character: JSON has neither.
    """
    return json.dumps(_valid(result), allow_nan=False)


def _valid(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, Mapping):
        return {_valid(key): _valid(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in value)
    return value


def perplexity(value: float) -> str:
    """A perplexity with two digits, or words where it is too large to mean anything."""
    if value <= LARGEST_PERPLEXITY:
        return f"{value:10.2f}"
    return f"above {LARGEST_PERPLEXITY:,.0f}: the text is not predicted"
