"""What chapter 04 says of the residual stream, and of a whole block against its attention alone."""

import pytest
import torch
from evidence import SEEDS
from rungs import keep, paired
from torch import nn


def arriving(depth: int, seed: int, residual: bool, norm: bool) -> float:
    """The size of the gradient at the bottom of a stack of fresh networks, where 1 enters at the top."""
    torch.manual_seed(seed)
    layers = [nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32)) for _ in range(depth)]
    normalise = nn.LayerNorm(32) if norm else nn.Identity()
    bottom = torch.randn(1, 64, 32, requires_grad=True)
    x = bottom
    for layer in layers:
        x = x + layer(normalise(x)) if residual else layer(normalise(x))
    gradient = torch.randn_like(x)
    x.backward(gradient / gradient.norm())
    return bottom.grad.norm().item()


ADDS, BOTH = {"residual": True, "norm": False}, {"residual": True, "norm": True}
NORM = {"residual": False, "norm": True}


def by_depth(one: dict[str, bool], other: dict[str, bool]) -> dict[str, list[float]]:
    """What arrives one way minus what arrives the other, seed by seed, in stacks of 16 layers and of twice as many."""
    return {
        f"{depth} layers": [arriving(depth, seed, **one) - arriving(depth, seed, **other) for seed in SEEDS]
        for depth in (16, 32)
    }


@pytest.mark.claim("04.adding_lets_the_gradient_through")
def test_adding_lets_the_gradient_through(evidence):
    evidence.larger("what arrives of a gradient of size 1: adds minus replaces after LayerNorm", by_depth(ADDS, NORM))


@pytest.mark.claim("04.layer_norm_keeps_growth_slow")
def test_layer_norm_keeps_growth_slow(evidence):
    evidence.larger("what arrives of a gradient of size 1: adds minus adds after LayerNorm", by_depth(ADDS, BOTH))


@pytest.mark.claim("04.block_against_attention")
def test_block_against_attention(evidence):
    """On choices a block is better; over all tokens, and on recalls, no difference is seen."""
    keep("block")
    for kind, name in {"all": "loss", "recall": "recall"}.items():
        evidence.alike(f"{name}: attention alone minus block, nats per token", paired("attention", "block", kind))
    evidence.larger("choice: attention alone minus block, nats per token", paired("attention", "block", "choice"))
