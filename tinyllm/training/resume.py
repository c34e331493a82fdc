"""Resuming where an earlier call stopped: with the same settings, from the same weights and optimizer state."""

from typing import Any

import torch

from tinyllm.config import RunConfig
from tinyllm.model.gpt import GPT
from tinyllm.system.distributed import Processes
from tinyllm.system.paths import user_path
from tinyllm.text.prepared import PreparedData
from tinyllm.text.sources import path_from_anywhere
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.training.checkpoint import Checkpoint, load_checkpoint_tokenizer, load_model, load_training_state
from tinyllm.training.micro_batches import Cut, blocks_per_process, divisors
from tinyllm.training.schedule import learning_rate

FREE = (
    "batch_size", "gradient_accumulation_steps", "device", "precision", "compile", "recompute", "evaluation_interval",
    "checkpoint_interval", "patience", "csv", "tensorboard",
)  # fmt: skip
"""Settings of the machine, and of what is watched and kept, may change when a run resumes. The global batch may not."""


def check_same_run(config: RunConfig, found: RunConfig) -> None:
    """Raise ValueError if the folder's checkpoints come from a run with other settings.

    Its folder and its text may have moved (see `check_same_text`), and max_iterations may be more than before.
    """
    wanted, there = _defining(config), _defining(found)
    if config.training.max_iterations > found.training.max_iterations:
        del wanted["max_iterations"]
    different = [
        f"{name} ({there[name]!r} there, {value!r} now)" for name, value in wanted.items() if there[name] != value
    ]
    if different:
        raise ValueError(
            f"{config.run_folder} belongs to a run with other settings: {', '.join(different)}; give another run_folder"
        )


def _defining(config: RunConfig) -> dict[str, Any]:
    """The settings that make a run what it is, by name."""
    parts = config.to_dict()
    settings = parts["model"] | parts["dataset"] | parts["training"]
    if settings["init_from"] is not None:  # the same from any folder
        settings["init_from"] = str(user_path(settings["init_from"]).absolute())
    defining = {name: value for name, value in settings.items() if name not in (*FREE, "data")}
    return defining | {"batch_size times gradient_accumulation_steps": config.training.global_batch}


def check_same_text(config: RunConfig, checkpoint: Checkpoint, data: PreparedData) -> None:
    """Raise ValueError if the prepared text is not the one that the checkpoint was trained on, whatever its name.

    A checkpoint of version 0.1.0 does not know its text; there the name and the vocabulary must be the same.
    """
    now, before = config.dataset.data, path_from_anywhere(checkpoint.config.dataset.data)
    same = is_same_text(data, checkpoint.text_checksum, load_checkpoint_tokenizer(checkpoint))
    if now != before and not (same and checkpoint.text_checksum):
        raise ValueError(
            f"{config.run_folder} belongs to a run on another text: data ({before!r} there, {now!r} now); give another "
            "run_folder"
        )
    if not same:
        raise ValueError(f"{now} has changed since the run in {config.run_folder} began; give another run_folder")


def is_same_text(data: PreparedData, checksum: str | None, tokenizer: Tokenizer) -> bool:
    """Whether a run with this tokenizer, and this checksum of its text if that is known, was trained on `data`."""
    return data.tokenizer.fingerprint == tokenizer.fingerprint and checksum in (None, data.text_checksum)


def longer(config: RunConfig, checkpoint: Checkpoint) -> str:
    """The line that says what it means to go on for more iterations than before, or nothing."""
    training, before = config.training, checkpoint.config.training.max_iterations
    if training.max_iterations <= before:
        return ""
    rates = [learning_rate(checkpoint.iteration, one.training) for one in (checkpoint.config, config)]
    return (
        f"{training.max_iterations} iterations instead of {before}: from iteration {checkpoint.iteration} on, the "
        f"learning rate is that of the longer schedule, {rates[1]:.2g} instead of {rates[0]:.2g}"
    )


def restore(
    checkpoint: Checkpoint, model: GPT, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> Cut | None:
    """Restore weights, optimizer and gradient scaler from a checkpoint; returns how its steps were cut, if it says so.

    Raises ValueError if its training state is from a run with other settings.
    """
    model.load_state_dict(load_model(checkpoint.folder, "cpu").state_dict())
    state = load_training_state(checkpoint)
    try:
        for saved, group in zip(_groups(state["optimizer"]), _groups(optimizer.state_dict()), strict=True):
            if "fused" in group:  # the device's choice: what was saved on a GPU may resume on a CPU
                saved["fused"] = group["fused"]
        optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty from a run that needed none: on another device, or in another precision
            scaler.load_state_dict(state["scaler"])
        return Cut(**state["cut"]) if "cut" in state else None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        raise ValueError(f"{checkpoint.folder}/training_state.pt is from a run with other settings") from None


def _groups(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameter groups in an optimizer's state, or in those of two optimizers by name."""
    states = [state] if "param_groups" in state else list(state.values())
    return [group for state in states for group in state["param_groups"]]


def resumed_cut(saved: Cut | None, here: Cut, found: RunConfig, processes: Processes) -> Cut:
    """How to cut the steps of a resumed run: on the same machine as before, so that its bits stay the same.

    Checkpoints of version 0.1.0 do not say it: the batch_size `found` in them was the blocks of a forward pass.
    """
    if saved is None:
        saved = here._replace(blocks=found.training.batch_size)
    divides = saved.blocks in divisors(blocks_per_process(found, processes))
    return saved if saved.machine == here.machine and divides else here
