"""`python -m tinyllm` is the command line."""

import sys

from tinyllm.cli import main

if __name__ == "__main__":
    sys.exit(main())
