"""Resuming where an earlier call stopped: with the same settings, from the same weights and optimizer state."""

from typing import Any

import torch

from tinyllm.config import RunConfig
from tinyllm.model.gpt import GPT
from tinyllm.system.distributed import Processes
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.training.checkpoint import Checkpoint, load_checkpoint_tokenizer, load_model, load_training_state
from tinyllm.training.micro_batches import Cut, blocks_per_process, divisors

FREE = ("batch_size", "gradient_accumulation_steps", "device", "precision", "compile", "recompute")
"""Settings of the machine rather than the run, which may change when it resumes. The global batch may not."""


def check_same_run(config: RunConfig, found: RunConfig) -> None:
    """Raise ValueError if the folder's checkpoints come from a run with other settings. The folder may have moved."""
    wanted, there = _defining(config), _defining(found)
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
    defining = {name: value for name, value in settings.items() if name not in FREE}
    return defining | {"batch_size times gradient_accumulation_steps": config.training.global_batch}


def check_same_text(config: RunConfig, checkpoint: Checkpoint, tokenizer: Tokenizer) -> None:
    """Raise ValueError if the vocabulary was learned from another text than the checkpoint's."""
    if load_checkpoint_tokenizer(checkpoint).fingerprint != tokenizer.fingerprint:
        raise ValueError(
            f"{config.dataset.data} has changed since the run in {config.run_folder} began, and with it the "
            "vocabulary; give another run_folder"
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
