"""File names as one line of printable text, whatever bytes the system allowed in them."""

from pathlib import Path


def shown(name: str | Path) -> str:
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
