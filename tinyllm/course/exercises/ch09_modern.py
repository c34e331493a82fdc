"""Exercises of notebook 09: what changed since GPT-2.

Shape letters: B batch, T time (tokens), C embedding_dim, H heads, K heads of keys and values, D head_dim,
F feedforward_dim.
"""

import math
import random

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.generators import shapes
from tinyllm.course.checking.registry import Case, exercise


@exercise(
    cases=lambda: (
        [
            (size * torch.randn(shape) + 1, torch.randn(shape[-1]))
            for size, shape in ((3, (1, 3, 4)), (3, (2, 3, 5, 4)), (300, (2, 4, 7)), *((2, one) for one in shapes(3)))
        ]
        # So small that eps counts: its default, and others.
        + [(0.003 * torch.randn(1, 2, 4), torch.randn(4))]
        + [(0.01 * torch.randn(2, 3, 5), torch.randn(5), eps) for eps in (1e-3, random.uniform(1e-5, 1e-4))]
    ),
    hint="Square each number, take the mean along C for each token, and divide by the root of it. Where does eps go?",
    why="Subtracting the mean, as LayerNorm does, gains little: what must be kept in bounds is the size of the vector.",
)
def rms_norm(x: Float[Tensor, "*B C"], weight: Float[Tensor, " C"], eps: float = 1e-5) -> Float[Tensor, "*B C"]:
    """Divide each token by the root of its mean square, then scale."""
    mean_square = (x * x).mean(dim=-1, keepdim=True)
    return weight * x / torch.sqrt(mean_square + eps)


@exercise(
    cases=lambda: (
        [
            (torch.randn(T, D), base ** -(torch.arange(0, D, 2) / D))
            for T, D, base in ((1, 2, 10.0), (4, 4, 100.0), (6, 8, 10_000.0), (30, 6, 100.0))
        ]
        + [(torch.randn(T, D), torch.rand(D // 2)) for T, D in ((3, 2), (11, 10))]
    ),
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
        for B, T, C, wide in ((1, 1, 2, 3), (1, 3, 4, 6), (2, 3, 4, 6), (3, 2, 5, 5), (2, 12, 3, 11))
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
        for B, K, T, D, times in (
            (1, 1, 2, 2, 3),
            (1, 2, 3, 2, 1),
            (2, 2, 3, 4, 2),
            (1, 3, 2, 2, 4),
            (3, 5, 1, 3, 2),
            (2, 4, 7, 1, 3),
        )
    ],
    hint="Heads 0 and 1 of the queries share head 0 of the keys, if there are twice as many. repeat_interleave?",
    why="The keys are shared by neighbours among the query heads, so nothing has to be stored twice in the cache.",
)
def share_heads(keys: Float[Tensor, "B K T D"], num_heads: int) -> Float[Tensor, "B H T D"]:
    """Each head of keys once for each of its num_heads / K query heads, side by side."""
    return keys.repeat_interleave(num_heads // keys.shape[1], dim=1)


@exercise(
    gradients=False,
    cases=lambda: [
        (size * torch.randn(rows, columns), steps)
        for size, rows, columns, steps in (
            (1, 2, 2, 2),
            (1, 3, 5, 4),
            (1, 5, 3, 1),
            (300, 6, 6, 7),
            (0.01, 1, 4, 3),
            (1, 3, 4, 0),
            (1, 8, 5, 12),
        )
    ],
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


def _schedules() -> list[Case]:
    """Each part and each corner of some schedules whose decay is a whole number of steps, rounded or not."""
    cases = []
    for warmup in (10, 0, 1, random.randint(3, 20)):
        total, peak = random.randint(60, 300), random.uniform(1e-4, 2.0)
        decay = random.choice([steps for steps in range(5, total - 25) if steps / total * total == steps])
        flat, fall = total - decay, (total - decay // 2, total - 1)
        corners = (0, warmup - 1, warmup, (warmup + flat) // 2, flat, flat + 1, *fall, total)
        cases += [(at, total, warmup, decay / total, peak) for at in sorted({max(0, corner) for corner in corners})]
    # A share of 0.4 is 40 steps of 100, and of the 84 after the warm-up 33.6: neither 33 nor 34.
    return [*cases, (0, 50, 0, 1.0, 0.1), (31, 50, 0, 1.0, 0.1), (80, 100, 16, 0.4, random.uniform(0.1, 2))]


@exercise(
    cases=_schedules,
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


def rotate_rows(x: Float[Tensor, "*B T D"]) -> Float[Tensor, "*B T D"]:
    """Rotary positions in each matrix of tokens, at the usual speeds."""
    T, D = x.shape[-2:]
    speeds = 10_000 ** (-torch.arange(0, D, 2) / D)
    return torch.stack([rotate(rows, speeds) for rows in x.reshape(-1, T, D)]).view(x.shape)


def _attention_case(B: int, T: int, D: int, K: int, times: int) -> Case:
    H = K * times
    x, qkv = torch.randn(B, T, H * D), torch.randn(H * D, (H + 2 * K) * D)
    return x, qkv, 0.5 + 2 * torch.rand(D), 0.5 + 2 * torch.rand(D), H


@exercise(
    cases=lambda: [
        _attention_case(*sizes)
        for sizes in ((1, 4, 4, 1, 2), (2, 5, 2, 2, 3), (1, 1, 2, 1, 1), (3, 6, 6, 2, 1), (2, 9, 4, 3, 2))
    ],
    hint="Follow one number at a time. What is turned, and which of these must know a position? Does a norm with "
    "weights still see the same numbers after the turn? How many products are in one score?",
    why="Turned values would carry their positions into the stream. A norm's weights belong to fixed numbers, so they "
    "come before the turn, or the score no longer depends on the distance alone. A score has D products, not C.",
)
def mend_attention(
    x: Float[Tensor, "B T C"],
    qkv: Float[Tensor, "C N"],
    query_weight: Float[Tensor, " D"],
    key_weight: Float[Tensor, " D"],
    num_heads: int,
) -> Float[Tensor, "B T C"]:
    """Causal attention with QK-norm, then rotary positions; each head of keys and values serves H / K queries' heads.

    The columns of `qkv` are those of H heads of queries, then of K heads of keys and of K heads of values.
    """
    B, T, C = x.shape
    D = C // num_heads
    heads = (x @ qkv).view(B, T, -1, D).transpose(1, 2)  # (B, H + 2 K, T, D)
    K = (heads.shape[1] - num_heads) // 2
    q, k, v = torch.split(heads, [num_heads, K, K], dim=1)
    q, k = rotate_rows(rms_norm(q, query_weight)), rotate_rows(rms_norm(k, key_weight))
    k, v = share_heads(k, num_heads), share_heads(v, num_heads)
    scores = q @ k.transpose(2, 3) / math.sqrt(D)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    mix = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
    return mix.transpose(1, 2).reshape(B, T, C)


@exercise(
    draws=True,
    cases=lambda: [(factor,) for factor in (3.0, 0.5, random.uniform(1.5, 2.5), 4.0)],
    observe=lambda function, factor: settle(
        function(factor), factor**2, factor, factor**3, 2 * factor, factor**-2, band=0.15
    ),
    hint="Draw x, and expand and gate a hundred times smaller. Compare the spread of the output with that for "
    "matrices `factor` times as large. How often does the factor enter the product?",
    why="Near zero, SiLU(z) is about z / 2. So the output is a product of two numbers that both grow with the factor: "
    "it grows with the square. GELU has one such number.",
)
def gate_growth(factor: float) -> float:
    """How many times as large SwiGLU's output becomes, near zero, with `expand` and `gate` `factor` times as large."""
    return factor**2
