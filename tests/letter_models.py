"""Models over a few letters: all that they can write is counted, so expectations are exact."""

import torch
from torch import Tensor

from tinyllm import GPT, ModelConfig

LETTERS, PROMPT = 16, [3, 0, 7]


def small_model(seed: int = 0, letters: int = LETTERS) -> GPT:
    """One block, far from initialisation, in float64."""
    torch.manual_seed(seed)
    config = ModelConfig(
        vocab_size=letters, context_length=8, embedding_dim=16, num_layers=1, num_heads=2, feedforward_dim=32,
        dropout=0.0,
    )  # fmt: skip
    model = GPT(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def gradient(value: Tensor, *of: Tensor) -> Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, of, retain_graph=True)])


class Letters:
    """A tokenizer of 16 letters, in which the model's outcomes can be counted."""

    end_of_text_id = PROMPT[0]

    def encode(self, text: str) -> list[int]:
        return ["abcdefghijklmnop".index(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join("abcdefghijklmnop"[token] for token in ids)
