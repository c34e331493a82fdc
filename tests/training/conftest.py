"""A run folder with checkpoints, ready-made."""

from saved_checkpoints import saved, tokenizer  # noqa: F401
