"""Every way in which a save touches the disk, counted, and one of them made to fail."""

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tinyllm.model import weights
from tinyllm.training.checkpoint import checkpoint_folders, read_checkpoint

STEPS = [(os, name) for name in ("mkdir", "fsync", "rename", "unlink", "rmdir")]
STEPS += [(io, "open"), (builtins, "open"), (weights, "save_file"), (torch, "save")]


class Disk:
    """Counts the steps of whatever runs while patched. At step `at`, half a file is written and `accident` happens."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int | None = None, accident: Callable[[tuple], None] = print):
        self.steps, self._at, self._accident = 0, at, accident
        for module, name in STEPS:
            patch.setattr(module, name, self._wrap(getattr(module, name), name))

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
    """How many steps an undisturbed save takes."""
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        save()
    return disk.steps


def assert_all_whole(run_folder: Path) -> None:
    """Each checkpoint of a run is whole under its name, and nothing else has such a name."""
    for folder in checkpoint_folders(run_folder):
        read_checkpoint(folder)
