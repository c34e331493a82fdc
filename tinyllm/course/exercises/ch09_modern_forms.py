"""Right answers of notebook 09 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch09_modern import (
    gate_growth,
    mend_attention,
    newton_schulz,
    rms_norm,
    rotate,
    rotate_rows,
    share_heads,
    stable_decay,
    swiglu,
)


@form(rms_norm)
def by_the_root(x, weight, eps=1e-5):
    square = x**2
    mean = square.mean(dim=-1, keepdim=True)
    root = torch.sqrt(mean + eps)
    normalised = x / root
    return normalised * weight


@form(rotate)
def two_halves(x, frequencies):
    positions = torch.arange(len(x))[:, None]
    angles = positions * frequencies
    cos, sin = angles.cos(), angles.sin()
    half = x.shape[1] // 2
    first, second = x[:, :half], x[:, half:]
    left = first * cos - second * sin
    right = first * sin + second * cos
    return torch.cat([left, right], dim=1)


@form(swiglu)
def gated(x, expand, gate, projection):
    opened = x @ gate
    wide = x @ expand
    silu = opened * torch.sigmoid(opened)
    hidden = silu * wide
    return hidden @ projection


@form(gate_growth)
def both_grow(factor):
    gate, value = factor, factor
    return gate * value


@form(share_heads)
def each_in_turn(keys, num_heads):
    copies = num_heads // keys.shape[1]
    shared = [keys[:, head // copies] for head in range(num_heads)]
    return torch.stack(shared, dim=1)


@form(mend_attention)
def part_by_part(x, qkv, query_weight, key_weight, num_heads):
    B, T, C = x.shape
    D = C // num_heads
    mixed = x @ qkv
    K = (mixed.shape[-1] // D - num_heads) // 2
    queries = mixed[..., : num_heads * D].reshape(B, T, num_heads, D).transpose(1, 2)
    keys = mixed[..., num_heads * D : (num_heads + K) * D].reshape(B, T, K, D).transpose(1, 2)
    values = mixed[..., (num_heads + K) * D :].reshape(B, T, K, D).transpose(1, 2)
    queries = rotate_rows(rms_norm(queries, query_weight))
    keys = rotate_rows(rms_norm(keys, key_weight))
    keys = share_heads(keys, num_heads)
    values = share_heads(values, num_heads)
    fits = queries @ keys.transpose(2, 3)
    scores = fits / math.sqrt(D)
    seen = torch.ones(T, T, dtype=torch.bool).tril()
    weights = scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
    result = weights @ values
    return result.transpose(1, 2).reshape(B, T, C)


@form(newton_schulz)
def cube_by_cube(matrix, steps):
    share = 0.5
    length = matrix.square().sum().sqrt()
    x = matrix / length
    for _ in range(steps):
        cube = x @ x.T @ x
        x = (1 + share) * x - share * cube
    return x


@form(stable_decay)
def three_parts(iteration, total, warmup, decay_fraction, peak):
    if iteration < warmup:
        rise = (iteration + 1) / (warmup + 1)
        return peak * rise
    decay = round(decay_fraction * total)
    start = total - decay
    if iteration < start:
        return peak
    done = (iteration - start) / decay
    left = 1 - done
    return peak * left
