"""Exercises of notebook 09: what changed since GPT-2.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, K heads of keys and values, D head_dim,
F feedforward_dim.
"""

import random

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tinyllm.course.checking.registry import exercise


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
    why="Subtracting the mean, as LayerNorm does, gains little: what must be kept in bounds is the size of the vector.",
)
def rms_norm(x: Float[Tensor, "B T C"], weight: Float[Tensor, " C"], eps: float = 1e-5) -> Float[Tensor, "B T C"]:
    """Divide each token by the root of its mean square, then scale."""
    mean_square = (x * x).mean(dim=-1, keepdim=True)
    return weight * x / torch.sqrt(mean_square + eps)


@exercise(
    cases=lambda: [
        (torch.randn(T, D), base ** -(torch.arange(0, D, 2) / D))
        for T, D, base in ((1, 2, 10.0), (3, 2, 10.0), (4, 4, 100.0), (6, 8, 10_000.0))
    ],
    hint="angles = position times frequency has shape (T, D / 2). Split x into its halves; rotate (a, b) to (a cos - "
    "b sin, b cos + a sin).",
    why="A query rotated by t angles times a key rotated by s angles depends on t - s only. So attention sees "
    "distances.",
)
def rotate(x: Float[Tensor, "T D"], frequencies: Float[Tensor, " D//2"]) -> Float[Tensor, "T D"]:
    """Rotate the pairs of row t by t * frequencies.

    A pair is element i of the first half of a row and element i of the second half.
    """
    angles = torch.arange(len(x))[:, None] * frequencies
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=1
    )


@exercise(
    cases=lambda: [
        (torch.randn(B, T, C), torch.randn(C, wide), torch.randn(C, wide), torch.randn(wide, C))
        for B, T, C, wide in ((1, 1, 2, 3), (1, 3, 4, 6), (2, 3, 4, 6))
    ],
    hint="Two products read x. One of them goes through SiLU and becomes the gate; then the two are multiplied.",
    why="Each number inside is let through or held back by a gate that has seen the same token.",
)
def swiglu(
    x: Float[Tensor, "B T C"],
    expand: Float[Tensor, "C F"],
    gate: Float[Tensor, "C F"],
    projection: Float[Tensor, "F C"],
) -> Float[Tensor, "B T C"]:
    """The gated feed-forward layer."""
    return (F.silu(x @ gate) * (x @ expand)) @ projection


@exercise(
    cases=lambda: [
        (torch.randn(B, K, T, D), K * times)
        for B, K, T, D, times in ((1, 1, 2, 2, 3), (1, 2, 3, 2, 1), (2, 2, 3, 4, 2), (1, 3, 2, 2, 4))
    ],
    hint="Heads 0 and 1 of the queries share head 0 of the keys, if there are twice as many. repeat_interleave?",
    why="The keys are shared by neighbours among the query heads, so nothing has to be stored twice in the cache.",
)
def share_heads(keys: Float[Tensor, "B K T D"], num_heads: int) -> Float[Tensor, "B H T D"]:
    """Each head of keys once for each of its num_heads / K query heads, side by side."""
    return keys.repeat_interleave(num_heads // keys.shape[1], dim=1)


@exercise(
    gradients=False,
    cases=lambda: (
        [(torch.randn(rows, columns), random.choice([2, 4])) for rows, columns in ((2, 2), (3, 5), (5, 3), (6, 6))]
        + [(torch.randn(3, 4), 0)]
    ),
    hint="First divide by the norm. Then repeat x = 1.5 x - 0.5 (x x^T) x: what does that do to a singular value of 1?",
    why="The polynomial acts on each singular value alone, since x x^T x has the same singular vectors as x.",
)
def newton_schulz(matrix: Float[Tensor, "N M"], steps: int) -> Float[Tensor, "N M"]:
    """The classic iteration towards an orthogonal matrix.

    Divide by the Frobenius norm, then repeat `steps` times: x <- 1.5 x - 0.5 x x^T x.
    """
    x: Tensor = matrix / matrix.norm()
    for _ in range(steps):
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
    hint="Three parts: a linear rise during warm-up, flat, then a linear fall over the last decay_fraction * total "
    "steps.",
    why="While the rate is flat the run has no end yet: you may decide later when to stop, and decay from there.",
)
def stable_decay(iteration: int, total: int, warmup: int, decay_fraction: float, peak: float) -> float:
    """The rate of step `iteration` (0 is the first) of a warm-up, stable, decay schedule.

    Warm-up: peak * (iteration + 1) / (warmup + 1). In the last decay_fraction of `total` steps, a linear fall
    from peak to 0, which step `total` would reach. Between the two: peak.
    """
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    decay = round(decay_fraction * total)
    return peak * min(1.0, (total - iteration) / decay)
