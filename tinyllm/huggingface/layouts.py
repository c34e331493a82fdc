"""How Hugging Face names and stores GPT-2 and Llama.

There GPT-2's linear layers are `Conv1D`s, with weights of shape (in, out), the transpose of `nn.Linear`'s. Llama's
queries, keys and values have a matrix each; ours has the rows of all three.
"""

from dataclasses import dataclass
from typing import Any

from tinyllm.config import ModelConfig
from tinyllm.model.norm import NORM_EPS
from tinyllm.model.rotary import ROTARY_BASE


@dataclass(frozen=True)
class Layout:
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


GPT2 = Layout(
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
ROPE = {"rope_theta": ROTARY_BASE, "rope_type": "default"}
LLAMA = Layout(
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
        "rope_parameters": (ROPE, ROPE),
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
LAYOUTS = {"gpt2": GPT2, "llama": LLAMA}
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}


def parameter_names(layout: Layout, config: ModelConfig) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Our parameter -> (theirs, whether they are transposed)."""
    names: dict[str, tuple[tuple[str, ...], bool]] = {ours: ((theirs,), False) for ours, theirs in layout.names.items()}
    for layer in range(config.num_layers):
        for ours, theirs in layout.block.items():
            for kind in ("weight", "bias") if config.bias else ("weight",):
                full = tuple(f"{layout.prefix}.{layer}.{name}.{kind}" for name in theirs)
                matrix = kind == "weight" and "norm" not in ours
                names[f"blocks.{layer}.{ours}.{kind}"] = full, matrix and layout.transposed
    return names
