"""Going on where an earlier call stopped: with the same settings, from the same weights and optimizer state."""

import torch

from tinyllm.config import RunConfig
from tinyllm.model.gpt import GPT
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.training.checkpoint import Checkpoint, load_checkpoint_tokenizer, load_model, load_training_state


def check_same_run(config: RunConfig, found: RunConfig) -> None:
    """Refuse a folder whose checkpoints belong to a run with other settings. The folder itself may have moved."""
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
    """Refuse to go on with a vocabulary that was learned from another text."""
    if load_checkpoint_tokenizer(checkpoint).fingerprint != tokenizer.fingerprint:
        raise ValueError(
            f"{config.dataset.data} has changed since the run in {config.run_folder} began, and with it the "
            "vocabulary; give another run_folder"
        )


def restore(checkpoint: Checkpoint, model: GPT, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """Put weights, optimizer and gradient scaler back as they were at a checkpoint."""
    model.load_state_dict(load_model(checkpoint.folder, "cpu").state_dict())
    state = load_training_state(checkpoint)
    try:
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        raise ValueError(f"{checkpoint.folder}/training_state.pt is not of a run with these settings") from None
