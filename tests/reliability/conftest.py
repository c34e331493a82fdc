"""The runs and checkpoints that the other tests have, here to be damaged."""

from test_checkpoint import saved, tokenizer  # noqa: F401
from test_training import text, uninterrupted  # noqa: F401
