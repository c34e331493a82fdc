"""The texts in a folder and the folders in it, by split: what is read, what is passed over, and why."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyllm.system.paths import shown_name
from tinyllm.text.file_formats import COMPRESSED, PLAIN, READABLE, TABLES, ending_of, looks_like_utf8, why_unreadable
from tinyllm.text.table_files import is_table

SPLIT_NAMES = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}
_NOT_LOOKED_AT = ("__pycache__", "node_modules")
_RUN_FILES = ("history.jsonl", "history.csv")
_CHECKPOINT = re.compile(r"step-\d{6,}")
_NUMBER = re.compile(r"(?<=[-_.])\d+(?=(-of-\d+)?(\.[a-z]+)*$)", re.IGNORECASE)
_PART = re.compile(r"(.*?)(\d+)-of-(\d+)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Found:
    """The texts of a folder by split, and the files passed over. A text is one file, or several that are its parts."""

    splits: dict[str, list[list[Path]]]
    passed_over: dict[Path, str]


def find_texts(folder: Path, text_field: str) -> Found:
    """Look through a folder and all folders in it.

    A file belongs to the split that a folder above it is named after (train, valid, validation, val or test), else to
    the one that its own name begins or ends with, as in wiki.valid.raw and test-00000-of-00001.parquet; of source code
    and documentation only the folder counts. Files without a split are training text, unless others are named train:
    then they are passed over.

    Raises FileNotFoundError for a folder without texts, ValueError for one that is ambiguous.
    """
    passed_over: dict[Path, str] = {}
    by_split: dict[str, list[Path]] = {}
    for file in _readable_files(folder, text_field, passed_over):
        by_split.setdefault(_split_of(file.relative_to(folder)), []).append(file)
    if not by_split:
        reasons = [
            f"{shown_name(file.relative_to(folder))} is {reason}" for file, reason in list(passed_over.items())[:3]
        ]
        raise FileNotFoundError(
            f"{shown_name(folder)} holds no text{': ' * bool(reasons)}{', '.join(reasons)}; {READABLE}"
        )
    if "train" in by_split:
        passed_over |= dict.fromkeys(by_split.pop("", []), "no split in its name")
    elif "" in by_split:
        by_split["train"] = by_split.pop("")
    order = [split for split in dict.fromkeys(SPLIT_NAMES.values()) if split in by_split]
    return Found({split: _texts(split, by_split[split], folder) for split in order}, passed_over)


def _readable_files(folder: Path, text_field: str, passed_over: dict[Path, str]) -> Iterator[Path]:
    """The files that can be read, in order. Adds all others to `passed_over`, except hidden ones."""
    for file in _files(folder, passed_over):
        reason: str | None
        try:
            reason = _why_passed_over(file, text_field)
        except OSError as error:
            reason = error.strerror
        except ValueError:
            reason = "damaged, or not UTF-8"
        if reason is None:
            yield file
        else:
            passed_over[file] = reason


def _why_passed_over(file: Path, text_field: str) -> str | None:
    if not file.is_file():
        return "not a file"
    if file.suffix.lower() in COMPRESSED and file.with_suffix("").is_file():
        return f"the same as {shown_name(file.stem)}"
    reason, ending = why_unreadable(file), ending_of(file)
    if reason is None and ending == ".json" and not is_table(file, text_field):
        return f"an object without the field {text_field!r}"
    if reason is None and ending not in (*PLAIN, *TABLES) and not looks_like_utf8(file):
        return "not UTF-8 text"
    return reason


def _files(folder: Path, passed_over: dict[Path, str]) -> Iterator[Path]:
    """All files below a folder, through links too, but each folder once, and without what our own runs write."""

    def note(error: OSError) -> None:
        passed_over[Path(error.filename)] = error.strerror or "not readable"

    seen = set()
    for parent, folders, files in os.walk(folder, onerror=note, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in _NOT_LOOKED_AT)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        if parent != str(folder) and _is_model(files):
            passed_over[Path(parent)] = "a trained model"
            folders.clear()
            continue
        ours = _RUN_FILES if ".lock" in files or any(map(_CHECKPOINT.fullmatch, folders)) else ()
        passed_over |= {Path(parent, name): "a run's history" for name in ours if name in files}
        yield from (Path(parent, name) for name in sorted(files) if name[0] != "." and name not in ours)


def _is_model(files: list[str]) -> bool:
    """Whether a folder holds a checkpoint or an exported model: a run may be kept beside the text it learns from."""
    return "config.json" in files and any(name.endswith(".safetensors") for name in files)


def _split_of(file: Path) -> str:
    """The split of a file, whose path is relative to the folder that was named, or ''."""
    return _split_of_folder(file) or _split_of_name(file)


def _split_of_folder(file: Path) -> str:
    names = (name.lower() for name in reversed(file.parent.parts))
    return next((SPLIT_NAMES[name] for name in names if name in SPLIT_NAMES), "")


def _split_of_name(file: Path) -> str:
    if ending_of(file) not in (*PLAIN, *TABLES):
        return ""
    name = file.with_suffix("") if file.suffix.lower() in COMPRESSED else file
    words = [word for word in re.split(r"[-_.\d]+", name.stem.lower()) if word not in ("", "of")]
    return next((SPLIT_NAMES[word] for word in (*words[:1], *words[-1:]) if word in SPLIT_NAMES), "")


def _texts(split: str, files: list[Path], folder: Path) -> list[list[Path]]:
    """The files of a split as texts: the parts (00000-of-00002 ...) of one set are one text.

    Raises ValueError for a set that is not complete, and where file names tell of two sets or forms of one split.
    """
    named = [file for file in files if not _split_of_folder(file.relative_to(folder)) and _split_of_name(file)]
    if len({(_NUMBER.sub("#", str(file)), _set_of(file)) for file in named}) > 1:
        names = ", ".join(shown_name(file.relative_to(folder)) for file in named[:4])
        raise ValueError(
            f"{shown_name(folder)} holds more than one variant of the {split} split ({names}): name one file, "
            f"or put all that belong to it in a folder {split}"
        )
    texts: dict[object, list[Path]] = {}
    for file in files:
        texts.setdefault(_set_of(file) or file, []).append(file)
    for parts in texts.values():
        _check_complete(parts, split)
    return list(texts.values())


def _set_of(file: Path) -> tuple[Path, str, str, str] | None:
    """Of a part of a set, what all its parts share."""
    match = _PART.fullmatch(file.name)
    return (file.parent, match[1], match[3], match[4]) if match else None


def _check_complete(parts: list[Path], split: str) -> None:
    matches = [match for file in parts if (match := _PART.fullmatch(file.name))]
    if matches and sorted(int(match[2]) for match in matches) != list(range(int(matches[0][3]))):
        raise ValueError(
            f"{shown_name(parts[0].parent)} holds {len(parts)} of the {matches[0][3]} parts of the {split} split: "
            "get the others, or name one file"
        )
