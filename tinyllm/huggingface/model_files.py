"""The files of a model in Hugging Face's layout: settings, and weights in one .safetensors file or in several.

A folder may come from anywhere. So its index of weights may name only files beside it, and files that could run code
when they are loaded are not opened.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from tinyllm.system.files import read_json

SETTINGS, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "tokenizer.model")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_ONLY_THEIRS = (INDEX, "pytorch_model.bin", "pytorch_model.bin.index.json", "generation_config.json")


def is_huggingface(folder: Path) -> bool:
    """Whether a folder is meant as a model in Hugging Face's layout, perhaps a damaged one, rather than one of ours."""
    if any((folder / name).exists() for name in _ONLY_THEIRS):
        return True
    try:
        settings = read_json(folder / SETTINGS)
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and "run" not in settings and not (folder / "checksums.json").exists()


def read_files(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings and the weights of a folder, on the CPU.

    Raises OSError, SafetensorError or ValueError for files that are missing, torn, or not what they claim to be.
    """
    settings = read_json(folder / SETTINGS)
    if not isinstance(settings, dict):
        raise ValueError(f"{SETTINGS} holds no settings")
    if settings.get("quantization_config") is not None:
        raise ValueError("quantization_config: quantised weights are not supported")
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        refuse_pickles(folder)
        return settings, _read_weights(folder / WEIGHTS)
    places = weight_files(folder / INDEX)
    weights: dict[str, Tensor] = {}
    for file in sorted(set(places.values())):
        if not (folder / file).is_file():
            raise ValueError(f"{INDEX} names {file}, which is missing")
        weights |= _read_weights(folder / file, [name for name, place in places.items() if place == file])
    return settings, weights


def weight_files(index: Path) -> dict[str, str]:
    """Which file each weight is in, as an index says. Raises ValueError if it names anything but files beside it."""
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{INDEX} has no weight_map")
    for file in places.values():
        plain = isinstance(file, str) and Path(file).name == file and "\\" not in file
        if not plain or not file.endswith(".safetensors"):
            raise ValueError(f"{INDEX} names {file!r}, which is no .safetensors file beside it")
    return places


def refuse_pickles(folder: Path) -> None:
    """Raise ValueError if all the weights in a folder are in a format that can run code when it is loaded."""
    if (folder / WEIGHTS).exists() or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix in PICKLES and path.name != "training_args.bin":
            raise ValueError(pickle_refused(path.name))


def pickle_refused(name: str) -> str:
    """Why a file of weights is not opened, and what to do."""
    return (
        f"{name} is a pickle, and loading a pickle can run code; only .safetensors is read: where you trust the file, "
        "transformers' from_pretrained(...).save_pretrained(folder) converts it"
    )


def _read_weights(path: Path, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """The tensors of one file, or those of these names. Raises ValueError if one of them is not there."""
    with safe_open(path, framework="pt") as file:
        there = set(file.keys())
        wanted = there if names is None else set(names)
        if lacking := sorted(wanted - there):
            raise ValueError(f"{path.name} lacks {lacking[0]}, which {INDEX} says is in it")
        return {name: file.get_tensor(name) for name in wanted}
