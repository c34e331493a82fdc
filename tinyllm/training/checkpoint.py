"""Checkpoints: whole or absent, self-describing, and safe to load.

A run folder contains `step-000500/`, `step-001000/` ... Each is complete: `model.safetensors`,
`config.json`, `tokenizer.json` (the whole vocabulary), `training_state.pt` (the optimizer), and `checksums.json`.
"""

import logging
import re
import shutil
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from tinyllm.config import RunConfig
from tinyllm.model.gpt import GPT
from tinyllm.model.weights import read_model, save_model
from tinyllm.system.device import pick_device
from tinyllm.system.files import new_folder, read_json, remove_folder, sha256, write_json
from tinyllm.system.paths import user_path
from tinyllm.text.tokenizer import Tokenizer, load_tokenizer

_logger = logging.getLogger(__name__)
_FORMAT = 1
_FILES = ("model.safetensors", "config.json", "tokenizer.json", "training_state.pt")
Which = Literal["best", "latest"]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says about itself."""

    folder: Path
    iteration: int
    """Optimizer steps done."""
    validation_loss: float | None
    """Held-out loss at this iteration, in nats per token; None if it was not measured."""
    config: RunConfig
    text_checksum: str | None = None
    """Of the text trained on (`PreparedData.text_checksum`); None in checkpoints of version 0.1.0."""


def save_checkpoint(
    iteration: int,
    validation_loss: float | None,
    config: RunConfig,
    model: GPT,
    tokenizer: Tokenizer,
    training_state: dict[str, Any],
    text_checksum: str | None = None,
    stopped: bool = False,
) -> Path:
    """Write `step-<iteration>` into the run's folder, then remove all but the newest two and the best.

    One written only because the run was `stopped` there goes at the next save, so that in the end a run that was
    stopped and one that never was have the same checkpoints.

    Raises OSError, leaving what was there untouched, if the disk is too full or cannot be written.
    """
    run_folder = Path(config.run_folder)
    run_folder.mkdir(parents=True, exist_ok=True)
    for unfinished in run_folder.glob(".step-*"):
        shutil.rmtree(unfinished, ignore_errors=True)  # a process was killed while writing it
    needed = _bytes(model)
    free = shutil.disk_usage(run_folder).free
    if free < 1.05 * needed:
        raise OSError(f"a checkpoint needs {needed / 1e6:.0f} MB, but {run_folder} has {free / 1e6:.0f} MB free")
    target = run_folder / f"step-{iteration:06d}"
    try:
        with new_folder(target) as folder:
            save_model(model, folder / "model.safetensors")
            tokenizer.save(folder / "tokenizer.json")
            torch.save(training_state, folder / "training_state.pt")
            measured = {"iteration": iteration, "validation_loss": validation_loss}
            content = {"format": _FORMAT, "text_checksum": text_checksum, "stopped": stopped}
            placed = config.replace(run_folder=run_folder.absolute())
            write_json(folder / "config.json", content | measured | {"run": placed.to_dict()})
            write_json(folder / "checksums.json", {name: sha256(folder / name) for name in _FILES})
    except (SafetensorError, RuntimeError) as error:  # how these two libraries report a full disk
        raise OSError(f"{target} cannot be written: {error}") from error
    _prune(run_folder)
    return target


def _bytes(model: GPT) -> int:
    """About what a checkpoint takes: the weights in float32, and AdamW's two averages of each weight that learns."""
    return sum((12 if weight.requires_grad else 4) * weight.numel() for weight in model.parameters())


def read_checkpoint(folder: Path) -> Checkpoint:
    """Check every file of a checkpoint against its checksum.

    Raises ValueError naming the file that is wrong, PermissionError naming one that this user may not read.
    """
    name = "checksums.json"
    try:
        content = read_json(folder / name)
        checksums = [(name, content[name]) for name in _FILES]
        for name, checksum in checksums:
            if sha256(folder / name) != checksum:
                raise ValueError("its checksum differs")
        name = "config.json"
        content = read_json(folder / name)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']}, this version reads {_FORMAT}")
        config, checksum = RunConfig.from_dict(content["run"]), content.get("text_checksum")
        return Checkpoint(folder, content["iteration"], content["validation_loss"], config, checksum)
    except PermissionError:
        raise PermissionError(
            f"checkpoint {folder} cannot be read: this user has no permission to read {name}; its owner can give it"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"is torn or altered ({error})"
        raise ValueError(f"checkpoint {folder} cannot be used: {name} {reason}") from None


def checkpoint_folders(run_folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first, usable or not."""
    if not run_folder.is_dir():
        return []
    folders = [path for path in run_folder.iterdir() if re.fullmatch(r"step-\d{6,}", path.name)]
    return sorted(folders, key=lambda folder: int(folder.name.removeprefix("step-")))


def find_checkpoint(run_folder: Path, which: Which = "latest") -> Checkpoint | None:
    """The newest or the best usable checkpoint; None if the run has none yet. Warns of each one it skips.

    Raises ValueError if there are checkpoints, but none can be used, PermissionError if one may not be read.
    """
    folders = checkpoint_folders(run_folder)
    usable: list[Checkpoint] = []
    for folder in reversed(folders):
        try:
            usable.append(read_checkpoint(folder))
        except ValueError as error:
            _logger.warning("%s", error)
            continue
        if which == "latest":
            return usable[0]
    if folders and not usable:
        raise ValueError(f"none of the {len(folders)} checkpoints in {run_folder} can be used; move the folder away")
    measured = [(found.validation_loss, found) for found in usable if found.validation_loss is not None]
    return min(measured, key=itemgetter(0))[1] if measured else next(iter(usable), None)


def _prune(run_folder: Path) -> None:
    """Remove all checkpoints but the newest two and the best; of those made by stopping the run, all but the newest."""
    folders = checkpoint_folders(run_folder)
    losses, stopped = {}, set()
    for folder in folders:
        try:
            content = read_json(folder / "config.json")
            losses[folder] = content["validation_loss"]
            if content.get("stopped"):
                stopped.add(folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # a torn one: `find_checkpoint` warns of it
    measured = [folder for folder in folders if losses.get(folder) is not None]
    best = [min(measured, key=losses.__getitem__)] if measured else []
    regular = [folder for folder in folders if folder not in stopped]
    kept = {*folders[-1:], *regular[-2:], *best}
    for folder in folders:
        if folder not in kept:
            try:
                remove_folder(folder)
            except OSError as error:
                _logger.warning("%s is no longer needed, but cannot be removed (%s)", folder, error)


def load_training_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """The states of the optimizer and the gradient scaler, on the CPU. `weights_only`: nothing in it can run code.

    Raises ValueError for a file with anything but plain values and tensors in it.
    """
    path = checkpoint.folder / "training_state.pt"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # `torch.load` answers unexpected bytes with errors of any kind
        raise ValueError(
            f"{path} is refused: it is not a training state written by `train` ({type(error).__name__})"
        ) from None
    return state


def load_model(path: str | Path, device: str = "auto", which: Which = "best") -> GPT:
    """Load a model for use (dropout off) from a run folder, one checkpoint, or a .safetensors file.

    Raises FileNotFoundError or ValueError, naming the file, for what is missing or damaged.
    """
    path = user_path(path)
    if path.is_dir():
        path = resolve_checkpoint(path, which).folder / "model.safetensors"
    elif not path.exists():
        raise FileNotFoundError(f"no model at {path}: give a run folder, a checkpoint or a .safetensors file")
    return read_model(path).to(pick_device(device))


def resolve_checkpoint(path: Path, which: Which) -> Checkpoint:
    """The checkpoint at a path: a checkpoint's own folder, or a run folder, of which `which` is taken.

    Raises FileNotFoundError if there is none, ValueError if none can be used.
    """
    if any((path / name).exists() for name in ("checksums.json", *_FILES)):
        return read_checkpoint(path)
    checkpoint = find_checkpoint(path, which)
    if checkpoint is None:
        raise FileNotFoundError(f"there is no checkpoint in {path}; `train` writes them there")
    return checkpoint


def load_checkpoint_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer that was saved with the model."""
    return load_tokenizer(checkpoint.folder / "tokenizer.json")
