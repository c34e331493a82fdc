"""A model as one .safetensors file: its weights, and its configuration in the metadata. Such a file cannot run code."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tinyllm.config import ModelConfig
from tinyllm.model.attention import CausalSelfAttention
from tinyllm.model.gpt import GPT
from tinyllm.model.lora import LoRALinear
from tinyllm.model.rotary import rotary_table
from tinyllm.system.paths import user_path, utf8_path

LARGEST_TABLE = 1 << 27  # cosines and sines


def save_model(model: GPT, path: str | Path) -> None:
    """Write the weights as one .safetensors file with the model's configuration in its metadata."""
    metadata = {"config": json.dumps(asdict(model.config))}
    path = user_path(path)
    path.touch()  # with the rights that the user gives to new files; `save_file` would give them to the owner alone
    rights = path.stat().st_mode
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path, metadata)
    path.chmod(rights)


def read_model(path: Path) -> GPT:
    """The model that `save_model` wrote, on the CPU, in evaluation mode. Raises ValueError for any other file."""
    path.open("rb").close()  # safetensors says of a file that may not be read that there is none
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


def adapt_model(
    model: GPT,
    context_length: int | None = None,
    dropout: float | None = None,
    vocab_size: int | None = None,
    lora: int = 0,
    seed: int = 0,
) -> GPT:
    """A copy that computes the same, for another use; what is not named stays as it is.

    Args:
        context_length: as long or shorter; of learned positions the first are kept.
        dropout: for training.
        vocab_size: as large or larger; each new token begins near the mean of all (`_grown`).
        lora: the rank of new corrections, which begin at 0 and alone can learn; those there are merged first.
        seed: of what is new.
    """
    old = model.config
    config = replace(
        old,
        context_length=context_length or old.context_length,
        dropout=old.dropout if dropout is None else dropout,
        vocab_size=vocab_size or old.vocab_size,
        lora=lora,
    )
    weights = _merged(model)
    if config.positions == "learned":
        weights["position_embedding.weight"] = weights["position_embedding.weight"][: config.context_length]
    generator = torch.Generator().manual_seed(seed)
    weights["token_embedding.weight"] = _grown(weights["token_embedding.weight"], config.vocab_size, generator)
    if lora:
        weights |= _new_corrections(config, generator)
    return build_model(config, weights, "the model to start from")


def _merged(model: GPT) -> dict[str, Tensor]:
    """The weights on the CPU, with each correction added to the matrix beside it."""
    weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            del weights[f"{name}.down"], weights[f"{name}.up"]
            weights[f"{name}.weight"] = module.merged().detach().cpu()
    return weights


def _new_corrections(config: ModelConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """As `LoRALinear.begin_correction`, but from this generator."""
    with torch.device("meta"):
        weights = GPT(config).state_dict()
    new = {name: torch.zeros(weight.shape) for name, weight in weights.items() if name.endswith((".down", ".up"))}
    for name, matrix in new.items():
        if name.endswith(".down"):
            matrix.normal_(std=matrix.shape[1] ** -0.5, generator=generator)
    return new


def _grown(embedding: Float[Tensor, "V C"], vocab_size: int, generator: torch.Generator) -> Float[Tensor, "W C"]:
    """With rows for new tokens: the mean of all, which surprises a trained head least, and noise to tell them apart.

    Source: Hewitt, "Initializing New Word Embeddings for Pretrained Language Models" (2021).
    """
    noise = torch.randn(vocab_size - len(embedding), embedding.shape[1], generator=generator)
    return torch.cat([embedding, embedding.mean(0) + 0.02 * noise])


def _fill_rotary_tables(model: GPT, source: object) -> None:
    """Make what is in no file: all layers share one table. No weight's shape bounds its size, so here it is bounded."""
    config = model.config
    if config.context_length * config.head_dim > LARGEST_TABLE:
        raise ValueError(f"{source} does not fit into memory: a context_length of {config.context_length:,}")
    table = rotary_table(torch.arange(config.context_length), config.head_dim)
    for module in model.modules():
        if isinstance(module, CausalSelfAttention):
            module.rotary_table = table
