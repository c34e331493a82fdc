"""What a run starts from: random weights, or somebody's.

Such weights decide the model's shape and its tokenizer. The run's configuration says so from then on, so that the run
can be resumed and used when they are gone.
"""

import dataclasses
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.config import ModelConfig, RunConfig
from tinyllm.huggingface.hub_models import fetch_model
from tinyllm.huggingface.loading import read_model_folder, read_tokenizer_folder
from tinyllm.huggingface.model_files import PICKLES, is_huggingface, pickle_refused
from tinyllm.model.gpt import GPT
from tinyllm.model.weights import adapt_model, read_model
from tinyllm.system.paths import user_path
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenizer import Tokenizer, load_tokenizer
from tinyllm.training.checkpoint import Checkpoint, load_checkpoint_tokenizer, load_model, resolve_checkpoint
from tinyllm.training.resume import check_same_run

_HUB_NAME = re.compile(r"(?!.*\.\.)\w[\w.-]*(/\w[\w.-]*)?")
_GPT2_FINGERPRINT = "ff71b3ab0673fb3a"  # of GPT-2's vocabulary, known here without its files
_SHAPE = [field.name for field in dataclasses.fields(ModelConfig) if field.name not in ("dropout", "lora")]


@dataclass(frozen=True)
class Start:
    """What a run starts from."""

    config: RunConfig
    """The run's, with the shape and the tokenizer of the weights it starts from."""
    tokenizer: Tokenizer | None = None
    """None: the one that the configuration names, or learned from the text."""
    model: GPT | None = None
    """None: random weights, or a checkpoint's."""


def read_weights(source: str) -> tuple[GPT, Tokenizer]:
    """A model, on the CPU, with what LoRA learned merged into its matrices, and its tokenizer.

    `source` is a run folder (its best checkpoint), a checkpoint, a .safetensors file with its tokenizer.json beside
    it, a folder in Hugging Face's layout, or a name on the Hub. Raises FileNotFoundError, ConnectionError or ValueError
    in one line for anything else.
    """
    path = user_path(source)
    if path.is_file():
        model, tokenizer = _read_file(path)
    elif path.is_dir() and not is_huggingface(path):
        checkpoint = resolve_checkpoint(path, "best")
        model, tokenizer = load_model(checkpoint.folder, "cpu"), load_checkpoint_tokenizer(checkpoint)
    else:
        if not path.is_dir():
            path = _fetch(source)
        model = read_model_folder(path, source)
        tokenizer = read_tokenizer_folder(path, model, source)
    if tokenizer.vocab_size != model.config.vocab_size:
        sizes = f"the model has {model.config.vocab_size} tokens and the tokenizer {tokenizer.vocab_size}"
        raise ValueError(f"{source!r} cannot be used: {sizes}")
    return adapt_model(model) if model.config.lora else model, tokenizer


def _read_file(path: Path) -> tuple[GPT, Tokenizer]:
    if path.suffix in PICKLES:
        raise ValueError(f"{path} is refused: {pickle_refused(path.name)}")
    try:
        model = read_model(path)
    except ValueError as error:
        if path.suffix == ".safetensors" and is_huggingface(path.parent):
            raise ValueError(f"{path} is one of a model's files: give its folder, {path.parent}") from error
        raise
    beside = path.with_name("tokenizer.json")
    if not beside.exists():
        raise ValueError(
            f"{path} has no tokenizer.json beside it: put its tokenizer's there, or give a whole checkpoint"
        )
    return model, load_tokenizer(beside)


def _fetch(source: str) -> Path:
    """The folder of a model on the Hub. What looks like a path is not asked for there."""
    in_a_folder_here = Path(source).parent != Path() and Path(source).parent.is_dir()
    if not _HUB_NAME.fullmatch(source) or source.endswith((".safetensors", *PICKLES)) or in_a_folder_here:
        raise FileNotFoundError(
            f"there is no model at {source}: give a run folder, a checkpoint, a .safetensors file, a folder of "
            "Hugging Face's, or a name on the Hub"
        )
    return fetch_model(source)


def starting_point(config: RunConfig, given: Collection[str] = (), checkpoint: Checkpoint | None = None) -> Start:
    """What a run starts from, or from which checkpoint it goes on.

    Args:
        config: the run's configuration.
        given: the names of those settings that the user chose; where they contradict the weights, that is an error.
        checkpoint: of this run, if it goes on.

    Raises ValueError for settings that contradict the weights or the checkpoint's, and as `read_weights`.
    """
    source = config.training.init_from
    if checkpoint is None:
        return Start(config) if source is None else _begin(config, source, given)
    tokenizer = None
    if source is not None:  # the weights may be gone: their shape is the checkpoint's
        there = _shape(checkpoint.config.model) | {"tokenizer": checkpoint.config.dataset.tokenizer}
        config = config.replace(**{name: value for name, value in there.items() if name not in given})
        tokenizer = load_checkpoint_tokenizer(checkpoint)
    check_same_run(config, checkpoint.config)
    return Start(config, tokenizer)


def _begin(config: RunConfig, source: str, given: Collection[str]) -> Start:
    """A new run from these weights: all but its dropout, and a context that is to be shorter, is as they are."""
    model, tokenizer = read_weights(source)
    setting, owner = _setting(tokenizer), source
    if config.dataset.dialogues:
        if not isinstance(tokenizer, SubWordTokenizer):
            raise ValueError(f"dialogues need sub-word tokens, but {source} has a {tokenizer.kind} tokenizer")
        grown = tokenizer.with_roles()
        tokenizer, owner = grown, source if grown is tokenizer else f"{source} with roles"
    there = _shape(model.config) | {"vocab_size": tokenizer.vocab_size, "tokenizer": setting}
    here = _shape(config.model) | {"tokenizer": config.dataset.tokenizer}
    for name, value in there.items():
        shorter = name == "context_length" and here[name] < value
        if name in given and here[name] != value and not shorter:
            raise ValueError(
                f"{name} is {here[name]!r}, but {owner} has {value!r}: leave it out, as init_from decides it"
            )
        if name in given and shorter:
            there = there | {name: here[name]}
    config = config.replace(**there)
    shape, seed = config.model, config.training.seed
    adapted = adapt_model(model, shape.context_length, shape.dropout, shape.vocab_size, shape.lora, seed)
    return Start(config, tokenizer, adapted)


def _shape(config: ModelConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in _SHAPE}


def _setting(tokenizer: Tokenizer) -> str:
    """What the configuration calls this tokenizer."""
    if tokenizer.fingerprint == _GPT2_FINGERPRINT:
        return "gpt2"
    return "bpe" if tokenizer.kind == "subword" else tokenizer.kind
