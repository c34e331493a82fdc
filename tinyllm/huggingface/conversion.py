"""GPT-2's and Llama's settings and weights, to and from Hugging Face's layout."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tinyllm.config import ModelConfig
from tinyllm.huggingface.layouts import ACTIVATIONS, LAYOUTS, ROPE, Layout, parameter_names
from tinyllm.model.attention import qkv_sizes
from tinyllm.model.gpt import GPT
from tinyllm.model.norm import NORM_EPS
from tinyllm.model.weights import adapt_model, build_model


def to_huggingface(model: GPT) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Convert our model to (settings for `transformers.GPT2Config`, weights for `transformers.GPT2Model`).

    With rotary positions they are for `LlamaConfig` and `LlamaModel`. What LoRA learned is merged into the matrices.
    Raises ValueError for choices that neither supports.
    """
    model = adapt_model(model) if model.config.lora else model
    config = model.config
    kind = "llama" if config.positions == "rotary" else "gpt2"
    layout = LAYOUTS[kind]
    _check_exists(config, kind, layout)
    settings = {theirs: getattr(config, ours) for ours, theirs in layout.fields.items()} | {"model_type": kind}
    if kind == "gpt2":
        settings |= dict.fromkeys(("embd_pdrop", "attn_pdrop"), config.dropout)
        settings["activation_function"] = ACTIVATIONS[config.activation]
    else:
        settings |= {"rms_norm_eps": NORM_EPS, "rope_parameters": ROPE, "tie_word_embeddings": True}
    own = model.state_dict()
    weights: dict[str, Tensor] = {}
    for ours, (theirs, transposed) in parameter_names(layout, config).items():
        tensor = own[ours].T if transposed else own[ours]
        parts = torch.split(tensor, list(qkv_sizes(config))) if len(theirs) > 1 else [tensor]
        weights |= {name: part.contiguous() for name, part in zip(theirs, parts, strict=True)}
    return settings, weights


def _check_exists(config: ModelConfig, kind: str, layout: Layout) -> None:
    """Raise ValueError for choices that this kind of model does not have: for all at once, as each costs a new run."""
    chosen = {name: getattr(config, name) for name in layout.choices}
    known: dict[str, tuple[Any, ...]] = {name: (value,) for name, value in layout.choices.items()}
    if kind == "gpt2":
        chosen |= {"activation": config.activation, "num_kv_heads": config.kv_heads}
        known |= {"activation": tuple(ACTIVATIONS), "num_kv_heads": (config.num_heads,)}
    lacking = [
        f"{name} {value!r} does not exist in a {kind}, only {' or '.join(map(repr, known[name]))}"
        for name, value in chosen.items()
        if value not in known[name]
    ]
    if lacking:
        raise ValueError("; ".join(lacking))


def from_huggingface(settings: dict[str, Any], weights: dict[str, Tensor]) -> GPT:
    """Convert Hugging Face's GPT-2 or Llama to our model, in evaluation mode. Raises ValueError for what ours lacks."""
    kind = settings.get("model_type", "gpt2")
    if kind not in LAYOUTS:
        raise ValueError(f"model_type {kind!r} is not supported, only {' and '.join(map(repr, LAYOUTS))}")
    layout = LAYOUTS[kind]
    config = _config(settings, kind, layout)
    weights = {name.removeprefix(layout.model): tensor for name, tensor in weights.items()}
    own = {}
    for ours, (theirs, transposed) in parameter_names(layout, config).items():
        for name in theirs:
            if name not in weights:
                raise ValueError(f"the weights lack {name}")
            if not weights[name].is_floating_point():
                raise ValueError(f"{name} is in {weights[name].dtype}: quantised weights are not supported")
        parts = [weights[name] for name in theirs]
        if len(parts) > 1:
            _check_parts(theirs, parts, config)
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
        own[ours] = tensor.T if transposed and tensor.dim() == 2 else tensor
    return build_model(config, own, f"this {kind}").eval()


def _config(settings: dict[str, Any], kind: str, layout: Layout) -> ModelConfig:
    """Our configuration of the model that their settings describe. Raises ValueError for what ours lacks, by name."""
    for name, (default, known) in layout.fixed.items():
        found = default if settings.get(name) is None else settings[name]
        if found != known:
            raise ValueError(f"{name} {found!r} is not supported, only {known!r}")
    fields: dict[str, Any] = {ours: settings.get(theirs) for ours, theirs in layout.fields.items()} | layout.choices
    defaults = {"dropout": layout.dropout, "feedforward_dim": 4 * settings[layout.fields["embedding_dim"]]}
    fields |= {name: value for name, value in defaults.items() if fields[name] is None}
    if kind == "gpt2":
        fields["activation"] = _activation(settings)
    config = ModelConfig(**fields)
    if settings.get("head_dim") not in (None, config.head_dim):
        raise ValueError(f"head_dim {settings['head_dim']} is not supported, only hidden_size / num_attention_heads")
    return config


def _check_parts(names: Sequence[str], parts: Sequence[Tensor], config: ModelConfig) -> None:
    """Raise ValueError if the queries', keys' and values' matrices are not those of this model, one by one.

    Their rows together could be as many as they should be, and yet belong to other heads.
    """
    for name, part, rows in zip(names, parts, qkv_sizes(config), strict=True):
        if tuple(part.shape) != (rows, config.embedding_dim):
            raise ValueError(f"{name} has shape {tuple(part.shape)}, expected {(rows, config.embedding_dim)}")


def _activation(settings: dict[str, Any]) -> str:
    """Our name for a GPT-2's activation."""
    activations = {theirs: ours for ours, theirs in ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}
    wanted = settings.get("activation_function", "gelu_new")
    if wanted not in activations:
        raise ValueError(f"activation_function {wanted!r} is not one of {', '.join(activations)}")
    return activations[wanted]
