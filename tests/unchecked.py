"""Python as users run it: without the import hook that checks shapes, and that torch.compile cannot trace."""

import os
import subprocess
import sys


def run_unchecked(script: str) -> None:
    """Run Python code in a process of its own, which can import what this one can. Fails if the code raises."""
    path = os.pathsep.join([os.environ["PYTHONPATH"], *filter(None, sys.path)])
    command, environment = [sys.executable, "-c", script], os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
