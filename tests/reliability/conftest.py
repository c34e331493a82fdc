"""The runs and checkpoints that the other tests have, here to be damaged."""

from saved_checkpoints import saved, tokenizer  # noqa: F401
from small_runs import text, uninterrupted  # noqa: F401
