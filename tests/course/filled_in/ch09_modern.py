"""Right answers to the exercises of notebook 09, in other styles than the references."""

import math

import torch


def rms_norm(x, weight, eps=1e-5):
    return torch.nn.functional.rms_norm(x, weight.shape, weight, eps)


def rotate(x, frequencies):
    half = x.shape[1] // 2
    turned = torch.complex(x[:, :half], x[:, half:])
    angles = torch.outer(torch.arange(x.shape[0], dtype=x.dtype), frequencies.to(x.dtype))
    turned = turned * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), dim=-1)


def swiglu(x, expand, gate, projection):
    gates = torch.einsum("btc,cf->btf", x, gate)
    return torch.einsum("btf,fc->btc", gates * gates.sigmoid() * torch.einsum("btc,cf->btf", x, expand), projection)


def gate_growth(factor):
    generator = torch.Generator().manual_seed(1)
    x, expand, gate = (0.1 * torch.randn(60, 60, generator=generator) for _ in range(3))
    before, after = ((torch.nn.functional.silu(s * x @ gate) * (s * x @ expand)).std() for s in (0.1, 0.1 * factor))
    return after / before


def share_heads(keys, num_heads):
    B, K, T, D = keys.shape
    return keys[:, :, None].expand(B, K, num_heads // K, T, D).reshape(B, num_heads, T, D)


def mend_attention(x, qkv, query_weight, key_weight, num_heads):
    B, T, C = x.shape
    D = C // num_heads
    K = (qkv.shape[1] - C) // (2 * D)
    q, k, v = (part.view(B, T, -1, D).transpose(1, 2) for part in (x @ qkv).split([C, K * D, K * D], dim=-1))
    speeds = 10_000 ** (-torch.arange(0, D, 2) / D)

    def placed(heads, weight):
        heads = rms_norm(heads, weight).flatten(0, 1)
        return torch.stack([rotate(rows, speeds) for rows in heads]).view(B, -1, T, D)

    q, k = placed(q, query_weight), placed(k, key_weight)
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(q, share_heads(k, num_heads), share_heads(v, num_heads), is_causal=True).transpose(1, 2).flatten(2)


def newton_schulz(matrix, steps):
    x = matrix / math.sqrt(float((matrix**2).sum()))
    identity = torch.eye(len(x), dtype=x.dtype)
    while steps:
        x = (3 * identity - x @ x.mT) @ x / 2
        steps -= 1
    return x


def stable_decay(iteration, total, warmup, decay_fraction, peak):
    start = total - decay_fraction * total
    if iteration < warmup:
        share = (1 + iteration) / (1 + warmup)
    elif iteration > start:
        share = 1 - (iteration - start) / (total - start)
    else:
        share = 1
    return share * peak
