"""Exercises of notebook 04: what else is in a layer.

Shape letters: B batch, T time (tokens), C embedding_dim.
"""

import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyllm.course.checking.checking import exercise, mistake
from tinyllm.course.checking.comparing import difference


@exercise(
    cases=lambda: (
        [
            (3 * torch.randn(shape) + 1, torch.rand(shape[-1]) + 0.5, torch.randn(shape[-1]))
            for shape in ((1, 1, 4), (1, 3, 4), (2, 3, 4), (2, 5, 6))
        ]
        # So small that eps counts: its default, and another.
        + [(0.003 * torch.randn(1, 2, 4), torch.ones(4), torch.zeros(4))]
        + [(0.01 * torch.randn(1, 2, 4), torch.ones(4), torch.zeros(4), 1e-3)]
    ),
    hint="Each token is a list of C numbers. Along which dimension do you take its mean, and what does keepdim do "
    "for the shapes?",
    why="Each token is normalised alone, so neither the batch nor the other tokens can change it. eps keeps a "
    "constant token from dividing by zero.",
)
def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Give each token mean 0 and variance 1, then scale and shift: x (B, T, C), weight (C), bias (C) -> (B, T, C)."""
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)  # divided by C, not C - 1
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias


@mistake(
    layer_norm,
    "You normalise across the tokens: the mean is taken over the wrong axis. Each token has its own mean, over its "
    "last "
    "dimension.",
)
def normalises_across_tokens(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias


@mistake(
    layer_norm, "One mean is taken over all numbers together. Each token needs its own: dim=-1, with keepdim=True."
)
def normalises_everything_together(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x, correction=0)
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias


@mistake(
    layer_norm,
    "Your variance is the unbiased one, divided by C - 1: the default of x.var(). LayerNorm divides by C.",
)
def unbiased_variance(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True)
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias


@mistake(layer_norm, "eps is left out, or added after the root. It belongs under the root, beside the variance.")
def forgets_eps(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return weight * (x - mean) / torch.sqrt(variance) + bias


@mistake(
    layer_norm, "You add eps to the root of the variance. It belongs under the root: that is how LayerNorm is defined."
)
def adds_eps_to_the_root(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return weight * (x - mean) / (torch.sqrt(variance) + eps) + bias


@mistake(layer_norm, "You divide by the variance itself. The spread of the numbers is its root.")
def divides_by_the_variance(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return weight * (x - mean) / (variance + eps) + bias


@mistake(layer_norm, "The learned scale and shift are missing: multiply by weight, then add bias.")
def forgets_weight_and_bias(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(variance + eps)


@mistake(layer_norm, "Only the shift is missing: add bias at the end.")
def forgets_bias(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return weight * (x - mean) / torch.sqrt(variance + eps)


@exercise(
    cases=lambda: [(4 * torch.rand(3) - 2,), (torch.linspace(-5, 5, 21),), (3 * torch.randn(2, 3, 4),)],
    hint="The share of a normal distribution below x is (1 + erf(x / sqrt(2))) / 2. PyTorch has torch.erf.",
    why="A smooth ReLU: large values pass, very negative ones become 0, and small ones pass in part. GPT-2 used the "
    "tanh form, because it was cheaper.",
)
def gelu(x: Tensor) -> Tensor:
    """x times the share of a normal distribution that lies below x, exactly. Any shape."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


@mistake(gelu, "This is the tanh form, an approximation that GPT-2 used. The exact one is wanted, with torch.erf.")
def tanh_form(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


@mistake(
    gelu, "This is x times a sigmoid, with 1.702 inside: a rougher approximation. Use the exact share, with torch.erf."
)
def sigmoid_form(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


@mistake(
    gelu, "This is SiLU: x times the sigmoid of x. GELU takes the share of a normal distribution instead, torch.erf."
)
def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


@mistake(gelu, "x is not divided by the root of 2 inside erf: erf is measured in units that are so much wider.")
def forgets_the_root_of_two(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x))


@mistake(gelu, "It is twice too large: 1 + erf(...) goes from 0 to 2. The share needs half of it.")
def forgets_the_half(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2)))


@mistake(gelu, "This is the share alone. GELU is x times the share of a normal distribution below x.")
def forgets_x(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _judge_dropout(function: Callable, x: Tensor, p: float, training: bool) -> dict[str, bool | list[float]]:
    """What is true of dropout whatever it draws. Bounds of six standard deviations: a right answer never fails."""
    first, second = function(x.clone(), p, training), function(x.clone(), p, training)
    changed = difference(x, first)  # also raises Unusable for another type or shape
    if p == 0 or not training:
        return {"x comes back unchanged": changed is None}
    difference(x, second)
    dropped = first == 0
    columns, rows = (bool((dropped.any(dim) & ~dropped.all(dim)).all()) for dim in (0, 1))
    deviation = math.sqrt(p * (1 - p) / x.numel())
    factors = (first / x)[~dropped].double().round(decimals=3).unique()
    return {
        "each row keeps some values and drops some": rows,
        "each column keeps some values and drops some": columns,
        f"about {p:.0%} of the values are zero": rows
        and columns
        and abs(dropped.double().mean().item() - p) < 6 * deviation,
        "the others are multiplied by": factors[:3].tolist(),
        "each call draws anew": not torch.equal(first, second),
    }


@exercise(
    cases=lambda: [
        (torch.rand(200, 200) + 0.5, random.choice([0.2, 0.3, 0.4]), True),
        (torch.rand(200, 200) + 0.5, random.choice([0.5, 0.6]), True),
        (torch.randn(2, 3), 0.5, False),
        (torch.randn(2, 3), 0.0, True),
    ],
    observe=_judge_dropout,
    hint="What is the mean of the values that are left, compared with the mean before? And what must change when "
    "training is False?",
    why="Dividing by 1 - p keeps the expected value, so the layers behind see the same scale in training and in "
    "evaluation.",
)
def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """In training, set each value to zero with probability p and divide the others by 1 - p. Any shape.

    So the mean stays as it was, and evaluation needs no change at all.
    """
    if not training:
        return x
    kept = torch.rand_like(x) >= p
    return x * kept / (1 - p)


@mistake(
    dropout,
    "The values that are kept are not scaled up. Divide them by 1 - p, or the layers behind see smaller numbers in "
    "training than in evaluation.",
)
def does_not_rescale(x: Tensor, p: float, training: bool) -> Tensor:
    return x * (torch.rand_like(x) >= p) if training else x


@mistake(dropout, "It is active in evaluation too. When training is False, x comes back as it is.")
def drops_in_evaluation(x: Tensor, p: float, training: bool) -> Tensor:
    return x * (torch.rand_like(x) >= p) / (1 - p)


@mistake(dropout, "p and 1 - p are swapped: you keep each value with probability p. p is the share that is dropped.")
def keeps_with_probability_p(x: Tensor, p: float, training: bool) -> Tensor:
    return x * (torch.rand_like(x) < p) / p if training and p else x


@mistake(dropout, "The values that are kept are divided by p. Their share is 1 - p, so divide by that.")
def divides_by_p(x: Tensor, p: float, training: bool) -> Tensor:
    return x * (torch.rand_like(x) >= p) / p if training and p else x


@mistake(dropout, "The kept values are multiplied by 1 - p. They must grow to make up for the lost ones: divide.")
def multiplies_by_the_share(x: Tensor, p: float, training: bool) -> Tensor:
    return x * (torch.rand_like(x) >= p) * (1 - p) if training else x


@mistake(dropout, "It is turned around: training leaves x alone, and evaluation drops. Look at the `if`.")
def drops_only_in_evaluation(x: Tensor, p: float, training: bool) -> Tensor:
    return x if training else x * (torch.rand_like(x) >= p) / (1 - p)


@mistake(
    dropout, "Whole rows are dropped together. Each value is drawn by itself: torch.rand_like(x) has one draw for each."
)
def drops_whole_rows(x: Tensor, p: float, training: bool) -> Tensor:
    return x * (torch.rand(len(x), 1) >= p) / (1 - p) if training else x


@mistake(dropout, "Whole columns are dropped together. Each value is drawn by itself: use torch.rand_like(x).")
def drops_whole_columns(x: Tensor, p: float, training: bool) -> Tensor:
    return x * (torch.rand(x.shape[-1]) >= p) / (1 - p) if training else x


@mistake(dropout, "Each call drops the same values. Do not set a seed inside the function.")
def drops_the_same_each_time(x: Tensor, p: float, training: bool) -> Tensor:
    torch.manual_seed(0)
    return dropout(x, p, training)


@exercise(
    cases=lambda: [_block_case(*shape) for shape in ((1, 1, 4), (1, 2, 4), (2, 3, 6))],
    hint="Follow the stream: it is never replaced, only added to. What do the two sub-layers read, and where does "
    "their result go?",
    why="The stream itself stays untouched by norms, so gradients reach the first layers unchanged. This order is "
    "called pre-norm.",
)
def block_forward(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    """One block on the residual stream: (B, T, C) -> (B, T, C).

    Each sub-layer reads a normalised copy of the stream and adds its result to the stream itself.
    """
    x = x + attention(attention_norm(x))
    return x + feedforward(feedforward_norm(x))


@mistake(
    block_forward,
    "The norm comes after the sum (post-norm). Here each sub-layer reads a normalised copy, and the sum stays as it "
    "is.",
)
def normalises_after_the_sum(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    x = attention_norm(x + attention(x))
    return feedforward_norm(x + feedforward(x))


@mistake(
    block_forward,
    "The second residual is missing: the feed-forward result replaces the stream. It must be added to it.",
)
def second_residual_missing(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    x = x + attention(attention_norm(x))
    return feedforward(feedforward_norm(x))


@mistake(
    block_forward, "The first residual is missing: the result of attention replaces the stream. It must be added to it."
)
def first_residual_missing(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    x = attention(attention_norm(x))
    return x + feedforward(feedforward_norm(x))


@mistake(block_forward, "Both residuals are missing: the stream is replaced twice. Add each result to it.")
def no_residuals(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    return feedforward(feedforward_norm(attention(attention_norm(x))))


@mistake(
    block_forward,
    "The residual is taken from the normalised copy. Add the result to x itself: normalise inside the call, and do not "
    "overwrite x.",
)
def residual_from_the_norm(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    x = attention_norm(x)
    x = x + attention(x)
    x = feedforward_norm(x)
    return x + feedforward(x)


@mistake(
    block_forward, "The feed-forward layer reads the block's input. It comes after attention and reads the new stream."
)
def sub_layers_side_by_side(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    return x + attention(attention_norm(x)) + feedforward(feedforward_norm(x))


@mistake(block_forward, "The sub-layers read the stream itself. Give each its normalised copy.")
def no_norms(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    x = x + attention(x)
    return x + feedforward(x)


@mistake(block_forward, "One norm is used twice. Each sub-layer has a norm of its own, with its own weights.")
def one_norm_twice(
    x: Tensor, attention_norm: Callable, attention: Callable, feedforward_norm: Callable, feedforward: Callable
) -> Tensor:
    x = x + attention(attention_norm(x))
    return x + feedforward(attention_norm(x))


def _block_case(B: int, T: int, C: int) -> tuple:
    """Two norms that differ, and two layers that stand for the real ones: the order is what is asked."""
    norms = [nn.LayerNorm(C) for _ in range(2)]
    for norm in norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return 2 * torch.randn(B, T, C), norms[0], nn.Linear(C, C), norms[1], nn.Linear(C, C)
