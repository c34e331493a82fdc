"""`pytest --nbval` runs the notebooks offline, on one thread, in a scratch folder."""

import shutil
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from isolation import isolate

SCRATCH = isolate()


def pytest_unconfigure() -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)
