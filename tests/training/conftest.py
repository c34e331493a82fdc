"""Small runs and checkpoints, ready-made."""

from saved_checkpoints import saved, tokenizer  # noqa: F401
from small_runs import text, uninterrupted  # noqa: F401
