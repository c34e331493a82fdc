"""Paths as people write and read them: `~`, spaces, and names whose bytes are no text."""

import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """The path that a user means: `~` is the home folder. A name like `~notes` that is no user's stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def full_path(path: str | Path) -> Path:
    """The path that a user means, from the root and without `..`. Links stay: what one leads to may have no ending."""
    return Path(os.path.normpath(user_path(path).absolute()))


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """The path to an existing file, for a library that reads only names in UTF-8: if this is none, a link to it."""
    if str(path).isascii() or shown(str(path)) == str(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        link.symlink_to(path.absolute())
        yield link


def shown(text: str) -> str:
    """A text that may name files, as any UTF-8 terminal can print it: the byte E9 of a Latin-1 name becomes `\\xe9`."""
    shown = "".join(f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char for char in text)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")


def shown_name(name: str | Path) -> str:
    """A name that can be printed anywhere: what is not printable is escaped, as in `caf\\xe9.txt` or `two\\nlines`.

    A name that is not UTF-8 reaches Python with lone surrogates, which no terminal, log or file in UTF-8 takes.
    """
    return "".join(map(_printable, str(name)))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode's form of a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return repr(character)[1:-1]


def shell_word(path: str | Path) -> str:
    """The path as a word of a command that can be copied into a shell; bytes that cannot be printed as `$'\\xe9'`."""
    name = str(path)
    name = f"./{name}" if name.startswith("-") else name  # else it would be taken for an option
    if name.isprintable():
        return shlex.quote(name)
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}" for byte in os.fsencode(name))
    return f"$'{''.join(plain)}'"
