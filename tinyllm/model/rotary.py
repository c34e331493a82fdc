"""Rotary positions (RoPE): queries and keys are rotated by angles that grow with their position.

Source: Su et al., "RoFormer" (2021).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROTARY_BASE = 10_000.0  # wavelengths run from 2 pi tokens to almost 2 pi times this many


def rotary_table(positions: Int[Tensor, " T"], head_dim: int) -> Float[Tensor, "2 T half"]:
    """The cosines and sines of the angles position * base^(-2i / head_dim), for i below half of head_dim."""
    frequencies = 1 / ROTARY_BASE ** (torch.arange(0, head_dim, 2, device=positions.device) / head_dim)
    angles = positions[:, None] * frequencies  # (T, D / 2)
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Float[Tensor, "B T H D"], table: Float[Tensor, "2 T half"]) -> Float[Tensor, "B T H D"]:
    """Rotate pairs of components of queries or keys by the angles of their positions.

    Component i of the first half and component i of the second half form a pair. So a query and a key's dot product
    depends on their positions only by the distance.
    """
    cos, sin = table[:, :, None]  # each (T, 1, D / 2)
    first, second = x.chunk(2, dim=-1)  # each (B, T, H, D / 2)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
