"""What learners usually get wrong in notebook 09. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch09_modern import newton_schulz, rms_norm, rotate, share_heads, stable_decay, swiglu

# rms_norm

mistake(
    rms_norm,
    "You subtract the mean first, which is LayerNorm. RMSNorm only divides.",
    lambda x, weight, eps=1e-05: F.layer_norm(x, x.shape[-1:], weight, None, eps),
)

mistake(
    rms_norm,
    "You divide by the standard deviation. Use the mean of the squares themselves.",
    lambda x, weight, eps=1e-05: weight * x / torch.sqrt(x.var(dim=-1, keepdim=True, correction=0) + eps),
)

mistake(
    rms_norm,
    "You divide by the length of the vector: the root of the sum. Take the mean of the squares instead.",
    lambda x, weight, eps=1e-05: weight * x / torch.sqrt((x * x).sum(dim=-1, keepdim=True) + eps),
)

mistake(
    rms_norm,
    "One mean is taken over all numbers together. Each token has its own: dim=-1, with keepdim=True.",
    lambda x, weight, eps=1e-05: weight * x / torch.sqrt((x * x).mean() + eps),
)

mistake(
    rms_norm,
    "The root is missing: you divide by the mean square itself.",
    lambda x, weight, eps=1e-05: weight * x / ((x * x).mean(dim=-1, keepdim=True) + eps),
)

mistake(
    rms_norm,
    "The learned scale is missing: multiply by weight.",
    lambda x, weight, eps=1e-05: x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + eps),
)

mistake(
    rms_norm,
    "eps is left out. It belongs under the root, beside the mean square.",
    lambda x, weight, eps=1e-05: weight * x / torch.sqrt((x * x).mean(dim=-1, keepdim=True)),
)

mistake(
    rms_norm,
    "eps is added after the root. It belongs under the root, beside the mean square.",
    lambda x, weight, eps=1e-05: weight * x / (torch.sqrt((x * x).mean(dim=-1, keepdim=True)) + eps),
)

mistake(
    rms_norm,
    "Your mean runs along the tokens. Each token has its own, along C: dim=-1.",
    lambda x, weight, eps=1e-05: weight * x / torch.sqrt((x * x).mean(dim=1, keepdim=True) + eps),
)


# rotate

mistake(
    rotate,
    "It rotates the other way: the signs of the two sines are swapped.",
    lambda x, frequencies: rotate(x, -frequencies),
)


@mistake(
    rotate,
    "Your pairs are neighbours (0 and 1, 2 and 3). Here a pair is i in the first half and i in the second.",
)
def pairs_neighbours(x, frequencies):
    angles = torch.arange(len(x))[:, None] * frequencies
    first, second = x[:, 0::2], x[:, 1::2]
    turned = [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()]
    return torch.stack(turned, dim=-1).flatten(1)


mistake(
    rotate,
    "Positions count from 1 here: row 0 must not be rotated at all.",
    lambda x, frequencies: rotate(torch.cat([x[:1], x]), frequencies)[1:],
)


@mistake(
    rotate,
    "A sign is wrong: (a, b) becomes (a cos - b sin, b cos + a sin). A rotation must not change the length.",
)
def both_with_plus(x, frequencies):
    angles = torch.arange(len(x))[:, None] * frequencies
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [first * angles.cos() + second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=1
    )


@mistake(
    rotate,
    "Every row is rotated by the same angle. Rotate row t by t times the frequencies.",
)
def turns_all_rows_alike(x, frequencies):
    first, second = x.chunk(2, dim=-1)
    cos, sin = frequencies.cos(), frequencies.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=1)


# swiglu

mistake(
    swiglu,
    "SiLU sits on the wrong product: x @ gate goes through it, x @ expand does not.",
    lambda x, expand, gate, projection: ((x @ gate) * F.silu(x @ expand)) @ projection,
)

mistake(
    swiglu,
    "The gate is added. It must multiply: that is what lets a number through or holds it back.",
    lambda x, expand, gate, projection: (F.silu(x @ gate) + (x @ expand)) @ projection,
)

mistake(
    swiglu,
    "This gate is a sigmoid alone (GLU). In SwiGLU it is SiLU: the product times its own sigmoid.",
    lambda x, expand, gate, projection: (torch.sigmoid(x @ gate) * (x @ expand)) @ projection,
)

mistake(
    swiglu,
    "There is no activation: the gate is x @ gate as it is. Put it through SiLU.",
    lambda x, expand, gate, projection: ((x @ gate) * (x @ expand)) @ projection,
)

mistake(
    swiglu,
    "SiLU comes after the product of the two. It belongs on x @ gate alone, before they are multiplied.",
    lambda x, expand, gate, projection: F.silu((x @ gate) * (x @ expand)) @ projection,
)

mistake(
    swiglu,
    "There is no gate: only x @ expand goes through the activation. Multiply by the product with gate.",
    lambda x, expand, gate, projection: F.silu(x @ expand) @ projection,
)


# share_heads

mistake(
    share_heads,
    "The heads alternate: 0, 1, 0, 1. Neighbours share one: 0, 0, 1, 1. See repeat_interleave.",
    lambda keys, num_heads: keys.repeat(1, num_heads // keys.shape[1], 1, 1),
)

mistake(
    share_heads,
    "You repeat along the tokens. The heads are dimension 1.",
    lambda keys, num_heads: keys.repeat_interleave(num_heads // keys.shape[1], dim=2),
)

mistake(
    share_heads,
    "Each head comes num_heads times. It serves only num_heads / K query heads.",
    lambda keys, num_heads: keys.repeat_interleave(num_heads, dim=1),
)


# newton_schulz


@mistake(
    newton_schulz,
    "The matrix is not divided by its norm first: singular values above 1.7 then run away.",
)
def forgets_the_norm(matrix, steps):
    x = matrix
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


mistake(
    newton_schulz,
    "One step is missing: count how often your loop runs.",
    lambda matrix, steps: newton_schulz(matrix, max(0, steps - 1)),
)


@mistake(
    newton_schulz,
    "You cube each element. x x^T x is a product of matrices, with @.",
)
def cubes_each_number(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x**3
    return x


@mistake(
    newton_schulz,
    "You divide by the norm in each step. Once, at the start, is enough; later it undoes the work.",
)
def norm_in_each_step(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = x / x.norm()
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


# stable_decay

mistake(
    stable_decay,
    "It never falls: over the last decay_fraction of the steps it must go linearly to 0.",
    lambda iteration, total, warmup, decay_fraction, peak: stable_decay(iteration, 10**9, warmup, 1e-6, peak),
)


@mistake(
    stable_decay,
    "It falls right after the warm-up. Between warm-up and decay, the rate stays at its peak.",
)
def falls_at_once(iteration, total, warmup, decay_fraction, peak):
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    return peak * (total - iteration) / (total - warmup)


@mistake(
    stable_decay,
    "Your decay is a fraction of the steps after the warm-up. It is a fraction of all `total` steps.",
)
def share_of_the_rest(iteration, total, warmup, decay_fraction, peak):
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    return peak * min(1.0, (total - iteration) / (decay_fraction * (total - warmup)))


@mistake(
    stable_decay,
    "The warm-up begins at 0, so the first step does nothing: (iteration + 1) / (warmup + 1).",
)
def begins_at_zero(iteration, total, warmup, decay_fraction, peak):
    if iteration < warmup:
        return peak * iteration / warmup
    return stable_decay(iteration, total, warmup, decay_fraction, peak)


mistake(
    stable_decay,
    "There is no warm-up: the rate must rise linearly over the first steps.",
    lambda iteration, total, warmup, decay_fraction, peak: stable_decay(iteration, total, 0, decay_fraction, peak),
)


@mistake(
    stable_decay,
    "The decay is reversed: it jumps down and climbs back to the peak.",
)
def climbs_at_the_end(iteration, total, warmup, decay_fraction, peak):
    decay = round(decay_fraction * total)
    if iteration > total - decay:
        return peak * (1 - (total - iteration) / decay)
    return stable_decay(iteration, total, warmup, decay_fraction, peak)
