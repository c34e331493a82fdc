"""Rotary positions (RoPE): queries and keys are rotated by angles that grow with their position.

Source: Su et al., "RoFormer" (2021).
"""

import torch
from jaxtyping import Float
from torch import Tensor

ROTARY_BASE = 10_000.0  # wavelengths run from 2 pi tokens to almost 2 pi times this many


def rotate(x: Float[Tensor, "B H T D"], start: int = 0) -> Float[Tensor, "B H T D"]:
    """Rotate pairs of components of queries or keys; the first token is at position `start`.

    Component i of the first half and component i of the second half form a pair, rotated by the angle
    position * base^(-2i / D). So a query and a key's dot product depends on their positions only by the distance.
    """
    T, D = x.shape[-2:]
    frequencies = 1 / ROTARY_BASE ** (torch.arange(0, D, 2, device=x.device) / D)  # (D / 2)
    angles = torch.arange(start, start + T, device=x.device)[:, None] * frequencies  # (T, D / 2)
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)  # each (B, H, T, D / 2)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
