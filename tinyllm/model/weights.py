"""A model as one .safetensors file: its weights, and its configuration in the metadata. Such a file cannot run code."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tinyllm.config import ModelConfig
from tinyllm.model.attention import CausalSelfAttention
from tinyllm.model.gpt import GPT
from tinyllm.model.rotary import rotary_table
from tinyllm.system.paths import user_path, utf8_path

LARGEST_TABLE = 1 << 27  # cosines and sines


def save_model(model: GPT, path: str | Path) -> None:
    """Write the weights as one .safetensors file with the model's configuration in its metadata."""
    metadata = {"config": json.dumps(asdict(model.config))}
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, user_path(path), metadata)


def read_model(path: Path) -> GPT:
    """The model that `save_model` wrote, on the CPU, in evaluation mode. Raises ValueError for any other file."""
    try:
        with utf8_path(path) as readable, safe_open(readable, framework="pt") as file:
            config = ModelConfig(**json.loads((file.metadata() or {})["config"]))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except KeyError:
        raise ValueError(f"{path} does not state its configuration: it was not written by save_model") from None
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a model file: {error}") from None
    return build_model(config, weights, path).eval()


def build_model(config: ModelConfig, weights: dict[str, Tensor], source: object) -> GPT:
    """Build a model from float32 copies of the weights.

    It is first built without memory, because a file may claim any size. Raises a ValueError that names the first tensor
    with a wrong name or shape; `source` is what the message calls the origin of the weights.
    """
    with torch.device("meta"):
        model = GPT(config)
    own = model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        expected = tuple(own[name].shape) if name in own else "none"
        found = tuple(weights[name].shape) if name in weights else "none"
        if expected != found:
            raise ValueError(f"{source} does not fit this model: {name} has shape {found}, expected {expected}")
    copies = {name: tensor.float().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()}
    model.load_state_dict(copies, assign=True)
    if config.positions == "rotary":
        _fill_rotary_tables(model, source)
    return model


def _fill_rotary_tables(model: GPT, source: object) -> None:
    """Make what is in no file: all layers share one table. No weight's shape bounds its size, so here it is bounded."""
    config = model.config
    if config.context_length * config.head_dim > LARGEST_TABLE:
        raise ValueError(f"{source} does not fit into memory: a context_length of {config.context_length:,}")
    table = rotary_table(torch.arange(config.context_length), config.head_dim)
    for module in model.modules():
        if isinstance(module, CausalSelfAttention):
            module.rotary_table = table
