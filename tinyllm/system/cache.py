"""The folder for what is kept between calls: prepared text, vocabularies, a learner's progress."""

import os
from pathlib import Path


def home() -> Path:
    """The cache folder: TINYLLM_HOME, or `tinyllm` in the user's cache folder.

    Raises OSError where the user has no home folder, as in some containers.
    """
    try:
        if os.environ.get("TINYLLM_HOME"):
            return Path(os.environ["TINYLLM_HOME"]).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tinyllm"
    except RuntimeError:
        raise OSError("there is no home folder; set TINYLLM_HOME to a folder that can be written") from None


def not_writable(folder: Path, error: OSError) -> OSError:
    """The error to raise when a folder of the cache cannot be written."""
    return OSError(f"{folder} cannot be written ({error.strerror}); set TINYLLM_HOME to a folder that can")
