"""GPT-2's and Llama's weights, to and from Hugging Face's layout.

There GPT-2's linear layers are `Conv1D`s, with weights of shape (in, out), the transpose of `nn.Linear`'s. Llama's
queries, keys and values have a matrix each; ours has the rows of all three.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tinyllm.config import ModelConfig
from tinyllm.model.attention import qkv_sizes
from tinyllm.model.gpt import GPT
from tinyllm.model.norm import NORM_EPS
from tinyllm.model.rotary import ROTARY_BASE
from tinyllm.model.weights import build_model
from tinyllm.system.device import pick_device
from tinyllm.system.files import read_json
from tinyllm.system.hub import check_reachable, hub_endpoint


@dataclass(frozen=True)
class _Layout:
    """How Hugging Face names and stores one kind of model."""

    fields: dict[str, str]
    """Our field of `ModelConfig` -> their setting of the same value."""
    choices: dict[str, Any]
    """Our other fields, with the values that make our model one of this kind."""
    fixed: dict[str, tuple[Any, Any]]
    """Settings that change what their model computes: the default, and the only value we support."""
    names: dict[str, str]
    """Our parameter -> theirs, outside the blocks."""
    block: dict[str, tuple[str, ...]]
    """Our module -> theirs, within a block; the rows of several together make ours."""
    prefix: str
    """Of their names in a block; the layer's index follows."""
    model: str
    """Prefix of all their names in a model with a head (which is tied, and so not needed)."""
    dropout: float
    """The default where their settings do not give it."""
    transposed: bool
    """Whether the weights of linear layers are stored as (in, out)."""


_GPT2 = _Layout(
    fields={
        "vocab_size": "vocab_size",
        "context_length": "n_positions",
        "embedding_dim": "n_embd",
        "num_layers": "n_layer",
        "num_heads": "n_head",
        "feedforward_dim": "n_inner",
        "dropout": "resid_pdrop",
    },
    choices={"norm": "layernorm", "positions": "learned", "qk_norm": False, "bias": True, "logit_softcap": None},
    fixed={
        "layer_norm_epsilon": (1e-5, NORM_EPS),
        "scale_attn_weights": (True, True),
        "scale_attn_by_inverse_layer_idx": (False, False),
        "add_cross_attention": (False, False),
        "tie_word_embeddings": (True, True),
    },
    names={
        "token_embedding.weight": "wte.weight",
        "position_embedding.weight": "wpe.weight",
        "final_norm.weight": "ln_f.weight",
        "final_norm.bias": "ln_f.bias",
    },
    block={
        "attention_norm": ("ln_1",),
        "attention.qkv": ("attn.c_attn",),
        "attention.projection": ("attn.c_proj",),
        "feedforward_norm": ("ln_2",),
        "feedforward.expand": ("mlp.c_fc",),
        "feedforward.projection": ("mlp.c_proj",),
    },
    prefix="h",
    model="transformer.",
    dropout=0.1,
    transposed=True,
)
_ROPE = {"rope_theta": ROTARY_BASE, "rope_type": "default"}
_LLAMA = _Layout(
    fields={
        "vocab_size": "vocab_size",
        "context_length": "max_position_embeddings",
        "embedding_dim": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "feedforward_dim": "intermediate_size",
        "num_kv_heads": "num_key_value_heads",
        "dropout": "attention_dropout",
    },
    choices={
        "activation": "swiglu",
        "norm": "rmsnorm",
        "positions": "rotary",
        "qk_norm": False,
        "bias": False,
        "logit_softcap": None,
    },
    fixed={
        "hidden_act": ("silu", "silu"),
        "rms_norm_eps": (1e-6, NORM_EPS),
        "rope_parameters": (_ROPE, _ROPE),
        "rope_theta": (ROTARY_BASE, ROTARY_BASE),  # this and the next: as files before transformers 5 say it
        "rope_scaling": (None, None),
        "attention_bias": (False, False),
        "mlp_bias": (False, False),
        "tie_word_embeddings": (False, True),
    },
    names={"token_embedding.weight": "embed_tokens.weight", "final_norm.weight": "norm.weight"},
    block={
        "attention_norm": ("input_layernorm",),
        "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attention.projection": ("self_attn.o_proj",),
        "feedforward_norm": ("post_attention_layernorm",),
        "feedforward.gate": ("mlp.gate_proj",),
        "feedforward.expand": ("mlp.up_proj",),
        "feedforward.projection": ("mlp.down_proj",),
    },
    prefix="layers",
    model="model.",
    dropout=0.0,
    transposed=False,
)
_LAYOUTS = {"gpt2": _GPT2, "llama": _LLAMA}
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}


def _names(layout: _Layout, config: ModelConfig) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Our parameter -> (theirs, whether they are transposed)."""
    names: dict[str, tuple[tuple[str, ...], bool]] = {ours: ((theirs,), False) for ours, theirs in layout.names.items()}
    for layer in range(config.num_layers):
        for ours, theirs in layout.block.items():
            for kind in ("weight", "bias") if config.bias else ("weight",):
                full = tuple(f"{layout.prefix}.{layer}.{name}.{kind}" for name in theirs)
                matrix = kind == "weight" and "norm" not in ours
                names[f"blocks.{layer}.{ours}.{kind}"] = full, matrix and layout.transposed
    return names


def to_huggingface(model: GPT) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Convert our model to (settings for `transformers.GPT2Config`, weights for `transformers.GPT2Model`).

    With rotary positions they are for `LlamaConfig` and `LlamaModel`. Raises ValueError for choices that neither
    supports.
    """
    config = model.config
    kind = "llama" if config.positions == "rotary" else "gpt2"
    layout = _LAYOUTS[kind]
    for field, known in layout.choices.items():
        if getattr(config, field) != known:
            raise ValueError(f"{field} {getattr(config, field)!r} does not exist in a {kind}, only {known!r}")
    settings = {theirs: getattr(config, ours) for ours, theirs in layout.fields.items()} | {"model_type": kind}
    if kind == "gpt2":
        if config.activation not in _ACTIVATIONS:
            known = " or ".join(map(repr, _ACTIVATIONS))
            raise ValueError(f"activation {config.activation!r} does not exist in a gpt2, only {known}")
        if config.kv_heads != config.num_heads:
            raise ValueError(f"num_kv_heads {config.kv_heads} does not exist in a gpt2, only num_heads")
        settings |= dict.fromkeys(("embd_pdrop", "attn_pdrop"), config.dropout)
        settings["activation_function"] = _ACTIVATIONS[config.activation]
    else:
        settings |= {"rms_norm_eps": NORM_EPS, "rope_parameters": _ROPE, "tie_word_embeddings": True}
    own = model.state_dict()
    weights: dict[str, Tensor] = {}
    for ours, (theirs, transposed) in _names(layout, config).items():
        tensor = own[ours].T if transposed else own[ours]
        parts = torch.split(tensor, list(qkv_sizes(config))) if len(theirs) > 1 else [tensor]
        weights |= {name: part.contiguous() for name, part in zip(theirs, parts, strict=True)}
    return settings, weights


def from_huggingface(settings: dict[str, Any], weights: dict[str, Tensor]) -> GPT:
    """Convert Hugging Face's GPT-2 or Llama to our model, in evaluation mode. Raises ValueError for what ours lacks."""
    kind = settings.get("model_type", "gpt2")
    if kind not in _LAYOUTS:
        raise ValueError(f"model_type {kind!r} is not supported, only {' and '.join(map(repr, _LAYOUTS))}")
    layout = _LAYOUTS[kind]
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
    weights = {name.removeprefix(layout.model): tensor for name, tensor in weights.items()}
    own = {}
    for ours, (theirs, transposed) in _names(layout, config).items():
        for name in theirs:
            if name not in weights:
                raise ValueError(f"the weights lack {name}")
        tensor = torch.cat([weights[name] for name in theirs])
        own[ours] = tensor.T if transposed else tensor
    return build_model(config, own, f"this {kind}").eval()


def _activation(settings: dict[str, Any]) -> str:
    """Our name for a GPT-2's activation."""
    activations = {theirs: ours for ours, theirs in _ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}
    wanted = settings.get("activation_function", "gelu_new")
    if wanted not in activations:
        raise ValueError(f"activation_function {wanted!r} is not one of {', '.join(activations)}")
    return activations[wanted]


def load_gpt2(name: str = "gpt2", device: str = "auto") -> GPT:
    """Load OpenAI's GPT-2 from the Hub ("gpt2", "gpt2-medium" ...: 0.5 GB and more), or from a folder with its files.

    Its tokenizer is `SubWordTokenizer("gpt2")`. Raises ConnectionError if the Hub cannot be reached.
    """
    folder = Path(name)
    files = ("config.json", "model.safetensors")
    chosen = pick_device(device)
    paths = [folder / file for file in files] if folder.is_dir() else _fetch(name, files)
    try:
        model = from_huggingface(read_json(paths[0]), load_file(paths[1]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name!r} is not a GPT-2 that can be loaded: {error}") from None
    return model.to(chosen)


def _fetch(name: str, files: Sequence[str]) -> list[Path]:
    """Fetch files of a model on the Hub, or take them from the cache of an earlier call."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        try:
            return [Path(hf_hub_download(name, file, local_files_only=True)) for file in files]
        except LocalEntryNotFoundError:
            instead = f"give a folder with {' and '.join(files)}"
            check_reachable(hub_endpoint(), f"the weights of {name!r}", instead)
            return [Path(hf_hub_download(name, file)) for file in files]
    except ConnectionError:
        raise
    except Exception as error:  # the Hub's client raises exceptions of many kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConnectionError(f"could not load {name!r} from the Hub: {reason}") from error
