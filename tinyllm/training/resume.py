"""Resuming where an earlier call stopped: with the same settings, from the same weights and optimizer state."""

import torch

from tinyllm.config import RunConfig
from tinyllm.model.gpt import GPT
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.training.checkpoint import Checkpoint, load_checkpoint_tokenizer, load_model, load_training_state


def check_same_run(config: RunConfig, found: RunConfig) -> None:
    """Raise ValueError if the folder's checkpoints come from a run with other settings. The folder may have moved."""
    wanted, there = config.to_dict(), found.to_dict()
    different = [
        f"{name} ({there[part][name]!r} there, {value!r} now)"
        for part in ("model", "dataset", "training")
        for name, value in wanted[part].items()
        if there[part][name] != value
    ]
    if different:
        raise ValueError(
            f"{config.run_folder} belongs to a run with other settings: {', '.join(different)}; give another run_folder"
        )


def check_same_text(config: RunConfig, checkpoint: Checkpoint, tokenizer: Tokenizer) -> None:
    """Raise ValueError if the vocabulary was learned from another text than the checkpoint's."""
    if load_checkpoint_tokenizer(checkpoint).fingerprint != tokenizer.fingerprint:
        raise ValueError(
            f"{config.dataset.data} has changed since the run in {config.run_folder} began, and with it the "
            "vocabulary; give another run_folder"
        )


def restore(checkpoint: Checkpoint, model: GPT, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """Restore weights, optimizer and gradient scaler from a checkpoint.

    Raises ValueError if its training state is from a run with other settings.
    """
    model.load_state_dict(load_model(checkpoint.folder, "cpu").state_dict())
    state = load_training_state(checkpoint)
    try:
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        raise ValueError(f"{checkpoint.folder}/training_state.pt is from a run with other settings") from None
