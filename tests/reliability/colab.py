"""Run the tests with Colab's versions, in a new virtual environment: `python tests/reliability/colab.py`.

Other arguments are passed on to pytest. Needs the network, and a quarter of an hour or more.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

COLAB = ["torch==2.13.*", "datasets==4.0.0", "ipywidgets==7.7.1", "matplotlib==3.10.*", "numpy==2.1.*"]
ROOT = Path(__file__).parents[2]
NOT_HERE = [
    "--ignore=tests/browser",  # JupyterLab 4 cannot draw ipywidgets 7; Colab has its own page for them
    "--deselect=tests/test_figures.py::test_committed_pictures_are_the_ones_drawn_now",  # by a newer matplotlib
]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[test]", *COLAB], check=True)
        return subprocess.run([python, "-m", "pytest", "--nbval", *NOT_HERE, *sys.argv[1:]], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
