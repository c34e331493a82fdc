"""`pytest --nbval` runs the notebooks offline, with a scratch folder for what they remember, on one thread."""

import shutil
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from isolation import isolate

SCRATCH = isolate()


def pytest_unconfigure() -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)
