"""GPT-2's weights, to and from Hugging Face's layout.

There each linear layer is a `Conv1D`, whose weight is stored as (in, out): the transpose of `nn.Linear`'s.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tinyllm.checkpoint import load_weights
from tinyllm.config import ModelConfig
from tinyllm.device import pick_device
from tinyllm.files import read_json
from tinyllm.model import GPT
from tinyllm.network import check_reachable, hub_endpoint

# Our name -> theirs, within a block and outside; True where the matrix is transposed.
_BLOCK = {
    "attention_norm": ("ln_1", False),
    "attention.qkv": ("attn.c_attn", True),
    "attention.projection": ("attn.c_proj", True),
    "feedforward_norm": ("ln_2", False),
    "feedforward.expand": ("mlp.c_fc", True),
    "feedforward.projection": ("mlp.c_proj", True),
}
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}
# Settings that change what the model computes, with the only value that ours knows, which is also their default.
_FIXED = {
    "model_type": "gpt2",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}


def _names(num_layers: int) -> dict[str, tuple[str, bool]]:
    """Our parameter name -> (their name, whether it is transposed)."""
    names = {
        "token_embedding.weight": ("wte.weight", False),
        "position_embedding.weight": ("wpe.weight", False),
        "final_norm.weight": ("ln_f.weight", False),
        "final_norm.bias": ("ln_f.bias", False),
    }
    for layer in range(num_layers):
        for ours, (theirs, transposed) in _BLOCK.items():
            names[f"blocks.{layer}.{ours}.weight"] = (f"h.{layer}.{theirs}.weight", transposed)
            names[f"blocks.{layer}.{ours}.bias"] = (f"h.{layer}.{theirs}.bias", False)
    return names


def to_huggingface(model: GPT) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our model as (settings for `transformers.GPT2Config`, weights for `transformers.GPT2Model`)."""
    config = model.config
    settings = {
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.embedding_dim,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_inner": config.feedforward_dim,
        "activation_function": _ACTIVATIONS[config.activation],
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
    }
    own = model.state_dict()
    names = _names(config.num_layers)
    return settings, {theirs: own[ours].T.contiguous() if t else own[ours] for ours, (theirs, t) in names.items()}


def from_huggingface(settings: dict[str, Any], weights: dict[str, Tensor]) -> GPT:
    """A GPT-2 of Hugging Face's as our model, dropout off. Raises ValueError for a model that ours cannot express."""
    for name, known in _FIXED.items():
        if settings.get(name, known) != known:
            raise ValueError(f"{name} {settings[name]!r} is not supported, only {known!r}")
    activations = {theirs: ours for ours, theirs in _ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}
    wanted = settings.get("activation_function", "gelu_new")
    if wanted not in activations:
        raise ValueError(f"activation_function {wanted!r} is not one of {', '.join(activations)}")
    width = settings["n_embd"]
    config = ModelConfig(
        vocab_size=settings["vocab_size"],
        context_length=settings["n_positions"],
        embedding_dim=width,
        num_layers=settings["n_layer"],
        num_heads=settings["n_head"],
        feedforward_dim=settings.get("n_inner") or 4 * width,
        dropout=settings.get("resid_pdrop", 0.1),
        activation=activations[wanted],
    )
    # Some files name the parameters as in the model with a head, which is tied and so not needed.
    weights = {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}
    with torch.device("meta"):
        model = GPT(config)
    own = {}
    for ours, (theirs, transposed) in _names(config.num_layers).items():
        if theirs not in weights:
            raise ValueError(f"the weights lack {theirs}")
        own[ours] = weights[theirs].T if transposed else weights[theirs]
    load_weights(model, own, "this GPT-2")
    return model.eval()


def load_gpt2(name: str = "gpt2", device: str = "auto") -> GPT:
    """OpenAI's GPT-2 from the Hub ("gpt2", "gpt2-medium" ...: 0.5 GB and more), or from a folder that holds it.

    Its tokenizer is `SubWordTokenizer("gpt2")`. Raises ConnectionError if the Hub cannot be reached.
    """
    folder = Path(name)
    files = ("config.json", "model.safetensors")
    chosen = pick_device(device)
    paths = [folder / file for file in files] if folder.is_dir() else _fetch(name, files)
    try:
        model = from_huggingface(read_json(paths[0]), load_file(paths[1]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name!r} does not hold a GPT-2 that can be loaded: {error}") from None
    return model.to(chosen)


def _fetch(name: str, files: Sequence[str]) -> list[Path]:
    """Files of a model on the Hub, from the cache of an earlier call if they are there."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        try:
            return [Path(hf_hub_download(name, file, local_files_only=True)) for file in files]
        except LocalEntryNotFoundError:
            instead = f"give a folder that holds {' and '.join(files)}"
            check_reachable(hub_endpoint(), f"the weights of {name!r}", instead)
            return [Path(hf_hub_download(name, file)) for file in files]
    except ConnectionError:
        raise
    except Exception as error:  # the Hub's client raises many kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConnectionError(f"could not load {name!r} from the Hub: {reason}") from error
