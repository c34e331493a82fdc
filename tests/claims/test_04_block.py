"""What chapter 04 says of the residual stream, and of a whole block against its attention alone."""

import pytest
import torch
from evidence import SEEDS, TIMES
from rungs import keep, scores, steps
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


def by_depth(one: dict[str, bool], other: dict[str, bool]) -> dict[str, list[float]]:
    """What arrives one way minus what arrives the other, seed by seed, in stacks of 16 layers and of twice as many."""
    return {
        f"{16 * times} layers": [
            arriving(16 * times, seed, **one) - arriving(16 * times, seed, **other) for seed in SEEDS
        ]
        for times in TIMES
    }


@pytest.mark.claim("04.adding_lets_the_gradient_through")
def test_adding_lets_more_through_than_layer_norm_does(evidence):
    both, add = {"residual": True, "norm": True}, {"residual": True, "norm": False}
    norm = {"residual": False, "norm": True}
    evidence.larger(
        "gradient of size 1 at the top, what arrives: adds after LayerNorm minus replaces after LayerNorm",
        by_depth(both, norm),
    )


@pytest.mark.claim("04.layer_norm_keeps_growth_slow")
def test_without_layer_norm_the_gradient_grows_faster(evidence):
    both, add = {"residual": True, "norm": True}, {"residual": True, "norm": False}
    evidence.larger("gradient of size 1 at the top, what arrives: adds minus adds after LayerNorm", by_depth(add, both))


@pytest.mark.claim("04.block_against_attention")
def test_what_a_block_gains_over_attention_alone(evidence):
    keep("block")
    differences = {
        steps(times): [
            a["all"] - b["all"] for a, b in zip(scores("attention", times), scores("block", times), strict=True)
        ]
        for times in TIMES
    }
    evidence.alike("loss of attention alone minus loss of the block, nats per token", differences)
