"""Which files can be read: as text, as a table, or not at all, and why not.

Text is what is UTF-8, whatever its name: prose, Markdown, source code, also HTML and XML, which are read as they
stand, tags included. Where the text is inside a structure (a table, a PDF, a notebook) the file's name or its first
bytes tell.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tinyllm.system.paths import shown_name

PLAIN = (".txt", ".raw", ".tokens", ".text")
TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
READABLE = (
    "text in UTF-8 (.txt, .md, source code ...), .jsonl, .json, .csv and .tsv can be read, each also as .gz or .zst, "
    "and .parquet"
)
_SNIFFED = 1 << 13  # bytes that decide what a file is
_DOCUMENT = "a word processor's document"
_ARCHIVE = "an archive"
_REFUSED = {
    **dict.fromkeys((".doc", ".docx", ".odt", ".rtf", ".pages"), _DOCUMENT),
    **dict.fromkeys((".xls", ".xlsx", ".ods"), "a spreadsheet"),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".lz4", ".tzst"), _ARCHIVE),
    **dict.fromkeys((".epub", ".mobi", ".azw3"), "an e-book"),
    ".pdf": "a PDF",
    ".ipynb": "a notebook",
}
_CONTROLS = bytes({*range(32)} - {*b"\a\b\t\n\v\f\r\x1b"})
_SIGNATURES = {
    b"%PDF": "a PDF",
    b"{\\rtf": _DOCUMENT,
    b"\xd0\xcf\x11\xe0": _DOCUMENT,
    b"PK\x03\x04": "a zip archive, as a .docx or .epub is too",
    b"7z\xbc\xaf\x27\x1c": _ARCHIVE,
    b"Rar!": _ARCHIVE,
    b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"\x1f\x8b": "gzip data without the ending .gz",
    b"\x28\xb5\x2f\xfd": "zstandard data without the ending .zst",
    b"PAR1": "parquet data without the ending .parquet",
    b"\xff\xfe": "text in UTF-16, to be converted to UTF-8",
    b"\xfe\xff": "text in UTF-16, to be converted to UTF-8",
}


def ending_of(path: Path) -> str:
    """A file's ending in lower case, without that of its compression: ".txt" of "My.TXT.gz"."""
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def is_path_like(name: str) -> bool:
    """Whether a name ends as a file's does, or begins as only a path can."""
    known = {*PLAIN, *TABLES, *_REFUSED, ".md", ".rst", ".py", ".html"}
    path = Path(name)
    return ending_of(path) in known or path.suffix.lower() in COMPRESSED or name.startswith((".", "~"))


def why_unreadable(path: Path) -> str | None:
    """What a file is that cannot be read, by its ending or its first bytes, or None."""
    ending = ending_of(path)
    if ending in _REFUSED:
        return _REFUSED[ending]
    if ending == ".parquet":
        return "compressed parquet, to be unpacked first" if path.suffix.lower() in COMPRESSED else None
    head = first_bytes(path)
    for signature, what in _SIGNATURES.items():
        if head.startswith(signature):
            return what
    if head[257:262] == b"ustar":
        return _ARCHIVE
    if len(head.translate(None, _CONTROLS)) < len(head) // 2:
        return "binary data"
    if b"\0" not in head:
        return None
    fewer, more = sorted(half.count(0) for half in (head[::2], head[1::2]))  # of Latin letters each second byte is 0
    if more > max(4, len(head) // 8, 8 * fewer):
        return "text in UTF-16, to be converted to UTF-8"
    return None if _is_utf8(head) else "binary data"


def looks_like_utf8(path: Path) -> bool:
    """Whether a file begins with UTF-8."""
    return _is_utf8(first_bytes(path))


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) == _SNIFFED and error.end == len(head)  # cut within a character
    return True


def first_bytes(path: Path) -> bytes:
    """The first bytes of a file, unpacked; none where it is damaged, which reading it will say."""
    with open_bytes(path) as file:
        try:
            return file.read(_SNIFFED)
        except OSError:
            return b""


def open_bytes(path: Path) -> IO[bytes]:
    """A file's bytes, unpacked as they are read."""
    file = path.open("rb", buffering=1 << 20)
    if path.suffix.lower() not in COMPRESSED:
        return file
    import pyarrow  # its codecs, because Python has none for zstandard before 3.14

    return io.BufferedReader(pyarrow.CompressedInputStream(file, COMPRESSED[path.suffix.lower()]), 1 << 20)


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """A file as UTF-8 text, unpacked, without its byte-order mark, each line end as "\\n".

    Reading raises ValueError for what is not UTF-8, and for a compressed file that is damaged.
    """
    try:
        with open_bytes(path) as binary, io.TextIOWrapper(binary, encoding="utf-8") as file:
            if binary.peek(3)[:3] == b"\xef\xbb\xbf":  # type: ignore[attr-defined]  # "utf-8-sig" reads at half the speed
                binary.read(3)
            yield file
    except UnicodeDecodeError:
        raise ValueError(f"{shown_name(path)} is not UTF-8 text: {_first_bad_byte(path)}; convert it first") from None
    except OSError as error:
        if error.errno is not None:  # the system's; the codecs' have none
            raise
        raise ValueError(f"{shown_name(path)} cannot be unpacked ({error}): copy or download it again") from None


def _first_bad_byte(path: Path) -> str:
    """Where a file stops being UTF-8. (The error from reading text counts from the start of the last buffer.)"""
    position = 0
    with open_bytes(path) as file:
        for line_number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"{error.reason} at byte {position + error.start}, in line {line_number}"
            position += len(line)
    return "it changed while it was read"
