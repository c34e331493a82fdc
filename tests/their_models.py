"""Small models of transformers' own, far from initialisation, for tests of what we read and write."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

SETTINGS = {"vocab_size": 89, "n_positions": 24, "n_embd": 30, "n_layer": 3, "n_head": 5, "bos_token_id": 0}


def perturb(model: torch.nn.Module) -> None:
    """Perturb every weight, norms and biases too, enough that attention is not flat."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)


def their_model(**settings) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**SETTINGS, eos_token_id=0, **settings)).eval()
    perturb(model)
    return model


LLAMA = {
    "vocab_size": 89, "max_position_embeddings": 24, "hidden_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 50, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}  # fmt: skip


def their_llama(**settings) -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**LLAMA | settings)).eval()
    perturb(model)
    return model


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.std() > 0.5, "too flat to tell models apart"
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text
