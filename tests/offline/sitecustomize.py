"""Python runs this when it starts, where PYTHONPATH names this folder: kernels and other processes stay offline too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
from isolation import block_network

sys.path.pop()
block_network()
