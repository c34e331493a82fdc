"""A run folder with three checkpoints, and what the tests need to damage and compare it."""

import builtins
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from small_runs import small_run

from tinyllm import GPT, ModelConfig, SubWordTokenizer
from tinyllm.system.files import sha256
from tinyllm.training.checkpoint import save_checkpoint

FILES = ["model.safetensors", "config.json", "tokenizer.json", "training_state.pt"]


def model_and_optimizer(config: ModelConfig, seed: int = 0) -> tuple[GPT, torch.optim.AdamW]:
    """A model after one real step, so that AdamW has something to remember."""
    torch.manual_seed(seed)
    model = GPT(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids = torch.randint(config.vocab_size, (2, 8))
    model(ids, ids).backward()
    optimizer.step()
    return model, optimizer


@pytest.fixture(scope="session")
def tokenizer() -> SubWordTokenizer:
    return SubWordTokenizer.train("a cat and a dog and a cat é😀", 260)


@pytest.fixture
def saved(tmp_path, tiny_config, tokenizer):
    """A run folder with checkpoints of iterations 1, 2 and 3 of different weights, and a way to write more."""
    config = dataclasses.replace(small_run(Path("text.txt"), tmp_path / "run"), model=tiny_config)

    def write(iteration: int, loss: float | None = None, stopped: bool = False) -> Path:
        model, optimizer = model_and_optimizer(tiny_config, seed=iteration)
        state = {"optimizer": optimizer.state_dict()}
        return save_checkpoint(iteration, loss, config, model, tokenizer, state, stopped=stopped)

    for iteration in (1, 2, 3):
        write(iteration, loss={1: 2.0, 2: 3.0, 3: 4.0}[iteration])  # 1 is the best: none of them is dropped
    write.folder = tmp_path / "run"
    write.config = config
    return write


def names(run_folder: Path) -> list[str]:
    return sorted(path.name for path in run_folder.iterdir())


def contents(run_folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run_folder)): path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Change a file and its checksum with it, as somebody would who means harm."""
    (folder / name).write_bytes(content)
    checksums = json.loads((folder / "checksums.json").read_text())
    (folder / "checksums.json").write_text(json.dumps(checksums | {name: sha256(folder / name)}))


class Malice:
    """Unpickled in the ordinary way, it would write a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return builtins.exec, (f"open({str(self.path)!r}, 'w').close()",)
