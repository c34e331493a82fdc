"""Every way in which a save touches the disk, counted, and one of them made to fail."""

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tinyllm.training import checkpoint

STEPS = [(os, name) for name in ("mkdir", "fsync", "rename", "unlink", "rmdir")]
STEPS += [(io, "open"), (builtins, "open"), (checkpoint, "save_file"), (torch, "save")]


class Disk:
    """Counts the steps of whatever runs inside; at one of them `accident` happens instead, half of a file written."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int | None = None, accident: Callable[[tuple], None] = print):
        self.steps, self._at, self._accident = 0, at, accident
        for place, name in STEPS:
            patch.setattr(place, name, self._wrap(getattr(place, name), name))

    def _wrap(self, function: Callable, name: str) -> Callable:
        def wrapped(*arguments, **settings):
            self.steps += 1
            if self.steps - 1 == self._at:
                if name in ("save_file", "save"):
                    Path(arguments[1]).write_bytes(b"half of it")
                paths = arguments[:1] if name in ("mkdir", "rename", "unlink", "rmdir", "open") else ()
                self._accident(tuple(map(str, paths)))
            return function(*arguments, **settings)

        return wrapped


def steps_of(save: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many steps a save has that nothing disturbs."""
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        save()
    return disk.steps


def assert_all_whole(run_folder: Path) -> None:
    """Each checkpoint of a run is whole under its name, and nothing else has such a name."""
    for folder in checkpoint.checkpoint_folders(run_folder):
        checkpoint.read_checkpoint(folder)
