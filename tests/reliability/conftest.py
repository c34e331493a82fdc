"""The checkpoints that the other tests have, here to be damaged."""

from saved_checkpoints import saved, tokenizer  # noqa: F401
