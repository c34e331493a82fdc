"""Exercises of notebook 09: what changed since GPT-2.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, K heads of keys and values, D head_dim,
F feedforward_dim.
"""

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyllm.course.checking.checking import exercise, mistake


@exercise(
    cases=lambda: (
        [
            (3 * torch.randn(shape) + 1, torch.rand(shape[-1]) + 0.5)
            for shape in ((1, 1, 4), (1, 3, 4), (2, 3, 4), (2, 5, 6))
        ]
        # So small that eps counts: its default, and another.
        + [(0.003 * torch.randn(1, 2, 4), torch.ones(4)), (0.01 * torch.randn(1, 2, 4), torch.ones(4), 1e-3)]
    ),
    hint="Square each number, take the mean along C for each token, and divide by the root of it. Where does eps go?",
    why="The mean that LayerNorm takes away buys little: the size of the vector is what has to be kept in bounds.",
)
def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Divide each token by the root of its mean square, then scale: x (B, T, C), weight (C) -> (B, T, C)."""
    mean_square = (x * x).mean(dim=-1, keepdim=True)
    return weight * x / torch.sqrt(mean_square + eps)


@mistake(rms_norm, "You take the mean away first, which is LayerNorm. RMSNorm only divides.")
def takes_the_mean_away(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, None, eps)


@mistake(rms_norm, "You divide by the spread around the mean. Use the mean of the squares themselves.")
def divides_by_the_spread(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    return weight * x / torch.sqrt(x.var(dim=-1, keepdim=True, correction=0) + eps)


@mistake(rms_norm, "You divide by the length of the vector: the root of the sum. Take the mean of the squares instead.")
def divides_by_the_length(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    return weight * x / torch.sqrt((x * x).sum(dim=-1, keepdim=True) + eps)


@mistake(rms_norm, "One mean is taken over all numbers together. Each token has its own: dim=-1, with keepdim=True.")
def one_mean_for_all(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    return weight * x / torch.sqrt((x * x).mean() + eps)


@mistake(rms_norm, "The root is missing: you divide by the mean square itself.")
def forgets_the_root(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    return weight * x / ((x * x).mean(dim=-1, keepdim=True) + eps)


@mistake(rms_norm, "The learned scale is missing: multiply by weight.")
def forgets_the_weight(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    return x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + eps)


@mistake(rms_norm, "eps is left out. It belongs under the root, beside the mean square.")
def forgets_eps(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    return weight * x / torch.sqrt((x * x).mean(dim=-1, keepdim=True))


@mistake(rms_norm, "eps is added after the root. It belongs under the root, beside the mean square.")
def eps_after_the_root(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    return weight * x / (torch.sqrt((x * x).mean(dim=-1, keepdim=True)) + eps)


@mistake(rms_norm, "Your mean runs along the tokens. Each token has its own, along C: dim=-1.")
def mean_along_the_tokens(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    return weight * x / torch.sqrt((x * x).mean(dim=1, keepdim=True) + eps)


@exercise(
    cases=lambda: [
        (torch.randn(T, D), base ** -(torch.arange(0, D, 2) / D))
        for T, D, base in ((1, 2, 10.0), (3, 2, 10.0), (4, 4, 100.0), (6, 8, 10_000.0))
    ],
    hint="angles = position times frequency has shape (T, D / 2). Split x into its halves; turn (a, b) to "
    "(a cos - b sin, b cos + a sin).",
    why="A query turned by t angles times a key turned by s angles depends on t - s only. So attention sees distances.",
)
def rotate(x: Tensor, frequencies: Tensor) -> Tensor:
    """Turn the pairs of row t by t * frequencies: x (T, D), frequencies (D / 2) -> (T, D).

    A pair is number i of the first half of a row and number i of the second half.
    """
    angles = torch.arange(len(x))[:, None] * frequencies
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=1
    )


@mistake(rotate, "It turns the other way round: the sign of the two sines is swapped.")
def turns_backwards(x: Tensor, frequencies: Tensor) -> Tensor:
    return rotate(x, -frequencies)


@mistake(
    rotate, "Your pairs are neighbours (0 and 1, 2 and 3). Here a pair is i in the first half and i in the second."
)
def pairs_neighbours(x: Tensor, frequencies: Tensor) -> Tensor:
    angles = torch.arange(len(x))[:, None] * frequencies
    first, second = x[:, 0::2], x[:, 1::2]
    turned = [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()]
    return torch.stack(turned, dim=-1).flatten(1)


@mistake(rotate, "Positions count from 1 here: row 0 must not be turned at all.")
def counts_from_one(x: Tensor, frequencies: Tensor) -> Tensor:
    return rotate(torch.cat([x[:1], x]), frequencies)[1:]


@mistake(rotate, "A sign is wrong: (a, b) becomes (a cos - b sin, b cos + a sin). Turning must not change the length.")
def both_with_plus(x: Tensor, frequencies: Tensor) -> Tensor:
    angles = torch.arange(len(x))[:, None] * frequencies
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [first * angles.cos() + second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=1
    )


@mistake(rotate, "Every row is turned by the same angle. Row t is turned by t times the frequencies.")
def turns_all_rows_alike(x: Tensor, frequencies: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    cos, sin = frequencies.cos(), frequencies.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=1)


@exercise(
    cases=lambda: [
        (torch.randn(B, T, C), torch.randn(C, wide), torch.randn(C, wide), torch.randn(wide, C))
        for B, T, C, wide in ((1, 1, 2, 3), (1, 3, 4, 6), (2, 3, 4, 6))
    ],
    hint="Two products read x. One of them goes through SiLU and becomes the gate; then the two are multiplied.",
    why="Each number inside is let through or held back by a gate that has seen the same token.",
)
def swiglu(x: Tensor, expand: Tensor, gate: Tensor, projection: Tensor) -> Tensor:
    """The gated feed-forward: x (B, T, C), expand and gate (C, F), projection (F, C) -> (B, T, C)."""
    return (F.silu(x @ gate) * (x @ expand)) @ projection


@mistake(swiglu, "SiLU sits on the wrong product: x @ gate goes through it, x @ expand does not.")
def gates_with_the_other(x: Tensor, expand: Tensor, gate: Tensor, projection: Tensor) -> Tensor:
    return ((x @ gate) * F.silu(x @ expand)) @ projection


@mistake(swiglu, "The gate is added. It must multiply: that is what lets a number through or holds it back.")
def adds_the_gate(x: Tensor, expand: Tensor, gate: Tensor, projection: Tensor) -> Tensor:
    return (F.silu(x @ gate) + (x @ expand)) @ projection


@mistake(swiglu, "This gate is a sigmoid alone (GLU). In SwiGLU it is SiLU: the product times its own sigmoid.")
def sigmoid_gate(x: Tensor, expand: Tensor, gate: Tensor, projection: Tensor) -> Tensor:
    return (torch.sigmoid(x @ gate) * (x @ expand)) @ projection


@mistake(swiglu, "There is no activation: the gate is x @ gate as it is. Put it through SiLU.")
def no_activation(x: Tensor, expand: Tensor, gate: Tensor, projection: Tensor) -> Tensor:
    return ((x @ gate) * (x @ expand)) @ projection


@mistake(swiglu, "SiLU comes after the product of the two. It belongs on x @ gate alone, before they are multiplied.")
def activates_the_product(x: Tensor, expand: Tensor, gate: Tensor, projection: Tensor) -> Tensor:
    return F.silu((x @ gate) * (x @ expand)) @ projection


@mistake(swiglu, "There is no gate: only x @ expand goes through the activation. Multiply by the product with gate.")
def no_gate(x: Tensor, expand: Tensor, gate: Tensor, projection: Tensor) -> Tensor:
    return F.silu(x @ expand) @ projection


@exercise(
    cases=lambda: [
        (torch.randn(B, K, T, D), K * times)
        for B, K, T, D, times in ((1, 1, 2, 2, 3), (1, 2, 3, 2, 1), (2, 2, 3, 4, 2), (1, 3, 2, 2, 4))
    ],
    hint="Heads 0 and 1 of the queries share head 0 of the keys, if there are twice as many. repeat_interleave?",
    why="The keys are shared by neighbours among the query heads, so nothing has to be stored twice in the cache.",
)
def share_heads(keys: Tensor, num_heads: int) -> Tensor:
    """Each head of keys once for each of its num_heads / K query heads, side by side: (B, K, T, D) -> (B, H, T, D)."""
    return keys.repeat_interleave(num_heads // keys.shape[1], dim=1)


@mistake(share_heads, "The heads come in turns: 0, 1, 0, 1. Neighbours share one: 0, 0, 1, 1. See repeat_interleave.")
def heads_in_turns(keys: Tensor, num_heads: int) -> Tensor:
    return keys.repeat(1, num_heads // keys.shape[1], 1, 1)


@mistake(share_heads, "You repeat along the tokens. The heads are dimension 1.")
def repeats_the_tokens(keys: Tensor, num_heads: int) -> Tensor:
    return keys.repeat_interleave(num_heads // keys.shape[1], dim=2)


@mistake(share_heads, "Each head comes num_heads times. It serves only num_heads / K of the query heads.")
def repeats_too_often(keys: Tensor, num_heads: int) -> Tensor:
    return keys.repeat_interleave(num_heads, dim=1)


@exercise(
    cases=lambda: (
        [(torch.randn(rows, columns), random.choice([2, 4])) for rows, columns in ((2, 2), (3, 5), (5, 3), (6, 6))]
        + [(torch.randn(3, 4), 0)]
    ),
    hint="First divide by the norm. Then repeat x = 1.5 x - 0.5 (x x^T) x: what does that do to a singular value of 1?",
    why="The polynomial acts on each singular value alone, since x x^T x has the same singular vectors as x.",
)
def newton_schulz(matrix: Tensor, steps: int) -> Tensor:
    """The classic iteration towards an orthogonal matrix, (R, C) -> (R, C).

    Divide by the Frobenius norm, then repeat `steps` times: x <- 1.5 x - 0.5 x x^T x.
    """
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


@mistake(newton_schulz, "The matrix is not divided by its norm first: singular values above 1.7 then run away.")
def forgets_the_norm(matrix: Tensor, steps: int) -> Tensor:
    x = matrix
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


@mistake(newton_schulz, "One step is missing: count how often your loop runs.")
def one_step_less(matrix: Tensor, steps: int) -> Tensor:
    return newton_schulz(matrix, max(0, steps - 1))


@mistake(newton_schulz, "You cube each number by itself. x x^T x is a product of matrices, with @.")
def cubes_each_number(matrix: Tensor, steps: int) -> Tensor:
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x**3
    return x


@mistake(newton_schulz, "You divide by the norm in each step. Once, at the start, is enough; later it undoes the work.")
def norm_in_each_step(matrix: Tensor, steps: int) -> Tensor:
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = x / x.norm()
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


@exercise(
    cases=lambda: (
        [
            (iteration, 100, 10, 0.4, peak)
            for peak in (1.0, random.uniform(0.1, 0.9))
            for iteration in (0, 5, 9, 10, 11, 35, 59, 60, 61, 80, 99)
        ]
        + [(30, 50, 0, 0.5, 0.1), (0, 50, 0, 1.0, 0.1)]
    ),
    hint="Three parts: up a line during warm-up, flat, then down a line over the last decay_fraction * total steps.",
    why="While the rate is flat the run has no end yet: you may decide later when to stop, and decay from there.",
)
def stable_decay(iteration: int, total: int, warmup: int, decay_fraction: float, peak: float) -> float:
    """The rate of step `iteration` (0 is the first) of a warm-up, stable, decay schedule.

    Warm-up: peak * (iteration + 1) / (warmup + 1). In the last decay_fraction of `total` steps a line from peak to 0,
    which step number `total` would reach. Between the two: peak.
    """
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    decay = round(decay_fraction * total)
    return peak * min(1.0, (total - iteration) / decay)


@mistake(stable_decay, "It never falls: the last decay_fraction of the steps goes down a line to 0.")
def never_falls(iteration: int, total: int, warmup: int, decay_fraction: float, peak: float) -> float:
    return stable_decay(iteration, 10**9, warmup, 1e-6, peak)


@mistake(stable_decay, "It falls right after the warm-up. Between the two, the rate stays at its peak.")
def falls_at_once(iteration: int, total: int, warmup: int, decay_fraction: float, peak: float) -> float:
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    return peak * (total - iteration) / (total - warmup)


@mistake(stable_decay, "Your decay is a share of the steps after the warm-up. It is a share of all `total` steps.")
def share_of_the_rest(iteration: int, total: int, warmup: int, decay_fraction: float, peak: float) -> float:
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    return peak * min(1.0, (total - iteration) / (decay_fraction * (total - warmup)))


@mistake(stable_decay, "The warm-up begins at 0, so the first step does nothing: (iteration + 1) / (warmup + 1).")
def begins_at_zero(iteration: int, total: int, warmup: int, decay_fraction: float, peak: float) -> float:
    if iteration < warmup:
        return peak * iteration / warmup
    return stable_decay(iteration, total, warmup, decay_fraction, peak)


@mistake(stable_decay, "There is no warm-up: the first steps go up a line.")
def no_warmup(iteration: int, total: int, warmup: int, decay_fraction: float, peak: float) -> float:
    return stable_decay(iteration, total, 0, decay_fraction, peak)


@mistake(stable_decay, "The decay is turned around: it jumps down and climbs back to the peak.")
def climbs_at_the_end(iteration: int, total: int, warmup: int, decay_fraction: float, peak: float) -> float:
    decay = round(decay_fraction * total)
    if iteration > total - decay:
        return peak * (1 - (total - iteration) / decay)
    return stable_decay(iteration, total, warmup, decay_fraction, peak)
