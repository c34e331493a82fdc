"""The run folder: used by one training at a time, and named in the errors of a run that fails."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tinyllm.config import RunConfig
from tinyllm.system.distributed import Processes
from tinyllm.training.checkpoint import find_checkpoint


@contextlib.contextmanager
def hold(folder: Path, processes: Processes) -> Iterator[None]:
    """Lock the folder in the first process. It is a lock of the operating system: a killed process leaves none behind.

    Raises RuntimeError if another training has locked it, OSError if it cannot be written.
    """
    if not processes.first:
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(f"{folder} is in use by another training: wait for it, or give another run_folder") from None
    except OSError as error:
        raise OSError(f"{folder} cannot be written ({error.strerror}): give another run_folder") from None
    try:
        yield
    finally:
        lock.release()


def last_good(config: RunConfig) -> str:
    """The clause of an error message that names the checkpoint a failed run can resume from."""
    try:
        checkpoint = find_checkpoint(Path(config.run_folder))
    except (ValueError, OSError):
        return "no checkpoint can be used"
    return f"the last good checkpoint is {checkpoint.folder}" if checkpoint else "there is no checkpoint yet"


def not_finite(config: RunConfig, iteration: int, loss: object) -> RuntimeError:
    """The error for a loss that is infinite or NaN."""
    return RuntimeError(
        f"the loss of iteration {iteration} is {loss}; {last_good(config)}. Try a lower max_learning_rate, more "
        "warmup_iterations, or another precision, in a new run_folder"
    )
