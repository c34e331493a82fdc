"""Writing files so that a reader sees the old content or the new one, never half of it."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read JSON from a file that cannot be trusted. Raises OSError, or ValueError if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON to a file that no other process reads yet (see `new_folder`).

    A file name may have bytes that are no text. Python reads these as lone surrogates, which JSON can only escape.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Fill a folder beside `target`; when the block ends without an error, it replaces `target` in one step.

    Everything is flushed to the disk before the rename, so that a power cut cannot leave a torn folder under the
    final name. After an error nothing is left over. Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _hidden(target)
    unfinished.mkdir()
    try:
        yield unfinished
        for path in [*unfinished.iterdir(), unfinished]:
            flush(path)
        if target.exists():
            remove_folder(target)
        unfinished.rename(target)
        flush(target.parent)
    except OSError as error:
        if error.errno and not error.filename:  # a full disk, for example: a failed write does not name its file
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder: a reader finds it whole or not at all. Raises OSError."""
    hidden = _hidden(folder)
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _hidden(target: Path) -> Path:
    return target.with_name(f".{target.name}-{uuid.uuid4().hex}")


def flush(path: Path) -> None:
    """Wait until a file or folder is on the disk. Windows cannot do that for a folder, or with a read-only handle."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_text(path: Path, text: str) -> None:
    """Write a text file: a reader sees the old text or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        flush(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
