"""What learners usually get wrong in notebook 09. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
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

mistake(
    rms_norm,
    "eps is always 1e-5 in your function. It is an argument, and may be another number.",
    lambda x, weight, eps=1e-05: rms_norm(x, weight),
)

mistake(
    rms_norm,
    "You scale by 1 + weight. Here the weight itself is the scale, and starts at 1.",
    lambda x, weight, eps=1e-05: rms_norm(x, 1 + weight, eps),
)

mistake(
    rms_norm,
    "You divide by the largest number. The size of a token is the root of its mean square.",
    lambda x, weight, eps=1e-5: weight * x / (x.abs().amax(-1, keepdim=True) + eps),
)

mistake(
    rms_norm,
    "You divide by the mean of the sizes. The mean is that of the squares, and a root is taken of it.",
    lambda x, weight, eps=1e-5: weight * x / (x.abs().mean(-1, keepdim=True) + eps),
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


@mistake(
    rotate,
    "The pairs are turned rightly, but put back side by side. All the first elements come first, then all the second.",
)
def puts_pairs_side_by_side(x, frequencies):
    first, second = rotate(x, frequencies).chunk(2, dim=-1)
    return torch.stack([first, second], dim=-1).flatten(1)


@mistake(
    rotate,
    "Sine and cosine are exchanged: at angle 0 nothing may change.",
)
def exchanges_sine_and_cosine(x, frequencies):
    angles = torch.arange(len(x))[:, None] * frequencies
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * angles.sin() - second * angles.cos(), second * angles.sin() + first * angles.cos()], 1)


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

mistake(
    swiglu,
    "Your gate is GELU's (that is GEGLU). In SwiGLU it is SiLU: z times sigmoid(z).",
    lambda x, expand, gate, projection: (F.gelu(x @ gate) * (x @ expand)) @ projection,
)

mistake(
    swiglu,
    "SiLU is applied to the result as well. Nothing comes after the projection.",
    lambda *arguments: F.silu(swiglu(*arguments)),
)

mistake(
    swiglu,
    "Both products go through SiLU. The one with `expand` stays as it is.",
    lambda x, expand, gate, projection: (F.silu(x @ gate) * F.silu(x @ expand)) @ projection,
)

mistake(
    swiglu,
    "The gate goes through a softmax, so its numbers compete. SiLU takes each by itself.",
    lambda x, expand, gate, projection: ((x @ gate).softmax(-1) * (x @ expand)) @ projection,
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

mistake(
    share_heads,
    "Every query head gets head 0 of the keys. Each head of keys serves its own H / K query heads.",
    lambda keys, num_heads: keys[:, :1].expand(-1, num_heads, -1, -1).clone(),
)

mistake(
    share_heads,
    "Every query head gets the mean of all heads of keys. Each head of keys serves its own H / K query heads.",
    lambda keys, num_heads: keys.mean(1, keepdim=True).expand(-1, num_heads, -1, -1),
)

mistake(
    share_heads,
    "Every query head gets the last head of the keys. Each head of keys serves its own H / K query heads.",
    lambda keys, num_heads: keys[:, -1:].expand(-1, num_heads, -1, -1),
)

mistake(
    share_heads,
    "Every query head gets the sum of all heads of keys. Each head of keys serves its own H / K query heads.",
    lambda keys, num_heads: keys.sum(1, keepdim=True).expand(-1, num_heads, -1, -1),
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


def _iterate(x, steps, a=1.5, b=0.5):
    for _ in range(steps):
        x = a * x - b * x @ x.T @ x
    return x


mistake(
    newton_schulz,
    "You divide by the largest singular value. Divide by the Frobenius norm, the root of the sum of all squares.",
    lambda matrix, steps: _iterate(matrix / torch.linalg.matrix_norm(matrix, 2), steps),
)

mistake(
    newton_schulz,
    "One step too many: count how often your loop runs.",
    lambda matrix, steps: newton_schulz(matrix, steps + 1),
)

mistake(
    newton_schulz,
    "The two terms are added. The second is subtracted: 1.5 x - 0.5 x x^T x.",
    lambda matrix, steps: _iterate(matrix / matrix.norm(), steps, b=-0.5),
)


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
    "Your decay is a fraction of the steps after the warm-up, rounded. It is a fraction of all `total` steps.",
)
def rounded_share_of_the_rest(iteration, total, warmup, decay_fraction, peak):
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    return peak * min(1.0, (total - iteration) / round(decay_fraction * (total - warmup)))


@mistake(
    stable_decay,
    "Your decay is a fraction of the steps after the warm-up, rounded down. It is a fraction of all `total` steps.",
)
def share_of_the_rest_rounded_down(iteration, total, warmup, decay_fraction, peak):
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    return peak * min(1.0, (total - iteration) / int(decay_fraction * (total - warmup)))


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


@mistake(
    stable_decay,
    "It falls along half a cosine. Here the fall is linear, from the peak to 0.",
)
def falls_along_a_cosine(iteration, total, warmup, decay_fraction, peak):
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    decay = round(decay_fraction * total)
    left = min(1.0, (total - iteration) / decay)
    return peak * (1 - math.cos(math.pi * left)) / 2


@mistake(
    stable_decay,
    "It ends at a tenth of the peak. Here it falls to 0.",
)
def ends_at_a_tenth(iteration, total, warmup, decay_fraction, peak):
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    decay = round(decay_fraction * total)
    left = min(1.0, (total - iteration) / decay)
    return peak * (0.1 + 0.9 * left)


@mistake(
    stable_decay,
    "It reaches 0 at the last step. Step `total`, the one after it, would be the first with a rate of 0.",
)
def reaches_zero_too_early(iteration, total, warmup, decay_fraction, peak):
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    decay = round(decay_fraction * total)
    return peak * max(0.0, min(1.0, (total - 1 - iteration) / max(1, decay - 1)))


# mend_attention


def _attention(norm_last, turned_values, wide_root):
    """The code to be mended, with some of its bugs."""

    def run(x, qkv, query_weight, key_weight, num_heads):
        B, T, C = x.shape
        D = C // num_heads
        heads = (x @ qkv).view(B, T, -1, D).transpose(1, 2)
        K = (heads.shape[1] - num_heads) // 2
        q, k, v = heads.split([num_heads, K, K], dim=1)
        if norm_last:
            q, k = rms_norm(rotate_rows(q), query_weight), rms_norm(rotate_rows(k), key_weight)
        else:
            q, k = rotate_rows(rms_norm(q, query_weight)), rotate_rows(rms_norm(k, key_weight))
        v = rotate_rows(v) if turned_values else v
        scores = q @ share_heads(k, num_heads).transpose(2, 3) / math.sqrt(C if wide_root else D)
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        mix = scores.masked_fill(future, -torch.inf).softmax(-1) @ share_heads(v, num_heads)
        return mix.transpose(1, 2).reshape(B, T, C)

    return run


for bugs, diagnosis in {
    (True, True, True): "This is still the code as it was given, or does the same. Three things are wrong with it.",
    (True, True, False): "The root is right now. Two things are left: what is turned, and when?",
    (True, False, True): "The values are left alone now. Two things are left: the order of norm and turn, and a root.",
    (
        False,
        True,
        True,
    ): "The norms come first now. Two things are left: one part is turned that must not be, and a root.",
    (
        True,
        False,
        False,
    ): "One thing is left: the norm's weights meet numbers that are already turned. Which comes first?",
    (False, True, False): "One thing is left: the values are turned. Only a score needs to know positions.",
    (
        False,
        False,
        True,
    ): "One thing is left: the scores are divided by the root of C. How long is one head's dot product?",
}.items():
    mistake(mend_attention, diagnosis, _attention(*bugs))


# gate_growth

mistake(
    gate_growth,
    "That is how a layer with one inner product grows, such as GELU's. Here two of them are multiplied.",
    lambda factor: factor,
)

mistake(
    gate_growth,
    "That is once too often: the projection is not drawn larger, only expand and gate.",
    lambda factor: factor**3,
)

mistake(
    gate_growth,
    "The two factors are added. Inside, the two products are multiplied.",
    lambda factor: 2 * factor,
)

mistake(
    gate_growth,
    "That is upside down: divide the larger matrices' output by the smaller ones'.",
    lambda factor: factor**-2,
)

mistake(
    gate_growth,
    "You say that the growth is exponential. Two products grow, each by the factor.",
    lambda factor: 2**factor,
)
