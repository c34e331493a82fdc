"""`python tests/benchmarks`: tinyllm beside its peers and beside the machine's limit, in one table.

Names choose parts: `python tests/benchmarks training sampling`. `--text` is the file whose articles make the corpora;
without it they are TinyWiki's. It needs Linux, about 12 GB of memory, and up to half an hour on two cores.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from isolation import isolate
from measuring import Row, compare, table


def import_rows(rounds: int) -> list[Row]:
    """Starting Python and importing."""
    seconds = [[_import(name) for name in ("tinyllm", "torch")] for _ in range(rounds)]
    return [compare("import tinyllm (peer: import torch)", "s", *zip(*seconds, strict=True), most=1.2)]


def _import(name: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
    return time.perf_counter() - began


def main() -> None:
    scratch = isolate()  # before the imports that read the environment
    del os.environ["OMP_NUM_THREADS"]  # all cores, unlike in a test
    import on_models
    import on_texts

    parts = {
        "import": lambda rounds, _: import_rows(2 * rounds),
        "reading": lambda rounds, _: on_texts.reading_rows(rounds),
        "vocabulary": on_texts.vocabulary_rows,
        "preparing": on_texts.preparing_rows,
        "evaluation": lambda rounds, _: on_models.evaluation_rows(rounds),
        "sampling": lambda rounds, _: on_models.sampling_rows(rounds),
        "training": lambda rounds, _: on_models.training_rows(rounds),
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help=f"any of {', '.join(parts)}; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (default: 5)")
    parser.add_argument("--text", default="tinywiki-full", help="a file or corpus to make the texts from")
    arguments = parser.parse_args()
    rows: list[Row] = []
    try:
        for name in arguments.parts or parts:
            print(f"measuring {name} ...", file=sys.stderr)
            rows += parts[name](arguments.rounds, arguments.text)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(table(rows))


if __name__ == "__main__":
    main()
