"""What learners usually get wrong in notebook 04. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch04_block import block_forward, dropout, gelu, layer_norm, measure_scatter, mend_stack

# layer_norm


@mistake(
    layer_norm,
    "You normalise across the tokens: the mean is taken over the wrong axis. Each token has its own mean, over its "
    "last dimension.",
)
def normalises_across_tokens(x, weight, bias, eps=1e-05):
    variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias


@mistake(
    layer_norm,
    "One mean is taken over all numbers together. Each token needs its own: dim=-1, with keepdim=True.",
)
def normalises_everything_together(x, weight, bias, eps=1e-05):
    variance, mean = torch.var_mean(x, correction=0)
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias


@mistake(
    layer_norm,
    "Your variance is the unbiased one, divided by C - 1: the default of x.var(). LayerNorm divides by C.",
)
def unbiased_variance(x, weight, bias, eps=1e-05):
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True)
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias


@mistake(
    layer_norm,
    "eps makes no difference to your result. It belongs under the root, beside the variance.",
)
def forgets_eps(x, weight, bias, eps=1e-05):
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return weight * (x - mean) / torch.sqrt(variance) + bias


@mistake(
    layer_norm,
    "You add eps to the root of the variance. It belongs under the root: that is how LayerNorm is defined.",
)
def adds_eps_to_the_root(x, weight, bias, eps=1e-05):
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return weight * (x - mean) / (torch.sqrt(variance) + eps) + bias


@mistake(
    layer_norm,
    "You divide by the variance itself. Divide by its root, the standard deviation.",
)
def divides_by_the_variance(x, weight, bias, eps=1e-05):
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return weight * (x - mean) / (variance + eps) + bias


@mistake(
    layer_norm,
    "The learned scale and shift are missing: multiply by weight, then add bias.",
)
def forgets_weight_and_bias(x, weight, bias, eps=1e-05):
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(variance + eps)


@mistake(
    layer_norm,
    "Only the shift is missing: add bias at the end.",
)
def forgets_bias(x, weight, bias, eps=1e-05):
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return weight * (x - mean) / torch.sqrt(variance + eps)


mistake(
    layer_norm,
    "The shift is scaled too: you multiply by weight after adding bias. Scale first, then shift.",
    lambda x, weight, bias, eps=1e-5: (
        weight * (layer_norm(x, torch.ones_like(weight), torch.zeros_like(bias), eps) + bias)
    ),
)

mistake(
    layer_norm,
    "One mean is taken over all tokens of a text. Each token needs its own: dim=-1, with keepdim=True.",
    lambda x, weight, bias, eps=1e-5: (
        weight * (x - x.mean((-2, -1), keepdim=True)) / torch.sqrt(x.var((-2, -1), keepdim=True, unbiased=False) + eps)
        + bias
    ),
)


# gelu

mistake(
    gelu,
    "This is the tanh form, an approximation that GPT-2 used. Use the exact form, with torch.erf.",
    lambda x: F.gelu(x, approximate="tanh"),
)

mistake(
    gelu,
    "This is x times a sigmoid, with 1.702 inside: a rougher approximation. Use the exact form, with torch.erf.",
    lambda x: x * torch.sigmoid(1.702 * x),
)

mistake(
    gelu,
    "This is SiLU: x times the sigmoid of x. GELU uses the normal distribution function instead, torch.erf.",
    lambda x: x * torch.sigmoid(x),
)

mistake(
    gelu,
    "x is not divided by the root of 2 inside erf: erf's unit is wider by that factor.",
    lambda x: x * 0.5 * (1 + torch.erf(x)),
)

mistake(
    gelu,
    "It is twice too large: 1 + erf(...) goes from 0 to 2. A probability is half of it.",
    lambda x: x * (1 + torch.erf(x / math.sqrt(2))),
)

mistake(
    gelu,
    "This is the probability alone. GELU is x times it.",
    lambda x: 0.5 * (1 + torch.erf(x / math.sqrt(2))),
)

mistake(
    gelu,
    "This is ReLU, which cuts off at 0. GELU is smooth: x times the probability of a normal variable below x.",
    lambda x: x.clamp(min=0),
)

mistake(
    gelu,
    "This is softplus, ln(1 + e^x). GELU is x times the probability of a normal variable below x.",
    lambda x: F.softplus(x),
)

mistake(
    gelu,
    "This is ELU. GELU is x times the probability of a normal variable below x.",
    lambda x: F.elu(x),
)

mistake(
    gelu,
    "This is the square of ReLU. GELU is x times the probability of a normal variable below x.",
    lambda x: x.clamp(min=0) ** 2,
)


# dropout

mistake(
    dropout,
    "The values that are kept are not scaled up. Divide them by 1 - p, or later layers see smaller numbers in "
    "training than in evaluation.",
    lambda x, p, training: x * (torch.rand_like(x) >= p) if training else x,
)

mistake(
    dropout,
    "It is active in evaluation too. When training is False, return x unchanged.",
    lambda x, p, training: x * (torch.rand_like(x) >= p) / (1 - p),
)

mistake(
    dropout,
    "p and 1 - p are swapped: you keep each value with probability p. p is the share that is dropped.",
    lambda x, p, training: x * (torch.rand_like(x) < p) / p if training and p else x,
)

mistake(
    dropout,
    "The values that are kept are divided by p. Their share is 1 - p, so divide by that.",
    lambda x, p, training: x * (torch.rand_like(x) >= p) / p if training and p else x,
)

mistake(
    dropout,
    "The kept values are multiplied by 1 - p. They must grow to make up for the lost ones: divide.",
    lambda x, p, training: x * (torch.rand_like(x) >= p) * (1 - p) if training else x,
)

mistake(
    dropout,
    "It is the wrong way round: training leaves x alone, and evaluation drops. Check the `if`.",
    lambda x, p, training: x if training else x * (torch.rand_like(x) >= p) / (1 - p),
)

mistake(
    dropout,
    "Whole rows are dropped together. Each value needs its own draw: use torch.rand_like(x).",
    lambda x, p, training: x * (torch.rand(len(x), 1) >= p) / (1 - p) if training else x,
)

mistake(
    dropout,
    "Keep and drop are exchanged: a draw is below p with probability p, and these are the ones to drop. Keep where it "
    "is at least p.",
    lambda x, p, training: x * (torch.rand_like(x) < p) / (1 - p) if training else x,
)

mistake(
    dropout,
    "One draw decides for a whole row: all of its values are kept or dropped together. Each value needs its own.",
    lambda x, p, training: x * (torch.rand(*x.shape[:-1], 1) >= p) / (1 - p) if training else x,
)

mistake(
    dropout,
    "Whole columns are dropped together. Each value needs its own draw, which torch.rand_like(x) gives.",
    lambda x, p, training: x * (torch.rand(x.shape[-1]) >= p) / (1 - p) if training else x,
)


@mistake(
    dropout,
    "Each call drops the same values. Draw anew each time, and set no seed inside the function.",
)
def drops_the_same_each_time(x, p, training):
    torch.manual_seed(0)
    return dropout(x, p, training)


@mistake(
    dropout,
    "Each row loses exactly the same number of values. Draw for each value by itself: the count then varies.",
)
def drops_an_exact_count_in_each_row(x, p, training):
    if not training:
        return x
    rank = torch.rand_like(x).argsort(dim=-1).argsort(dim=-1)
    return x * (rank >= round(p * x.shape[-1])) / (1 - p)


# block_forward


@mistake(
    block_forward,
    "The norm comes after the sum (post-norm). Here each sub-layer reads a normalised copy, and the sum is not "
    "normalised.",
)
def normalises_after_the_sum(x, attention_norm, attention, feedforward_norm, feedforward):
    x = attention_norm(x + attention(x))
    return feedforward_norm(x + feedforward(x))


@mistake(
    block_forward,
    "The second residual is missing: the feed-forward result replaces the stream. It must be added to it.",
)
def second_residual_missing(x, attention_norm, attention, feedforward_norm, feedforward):
    x = x + attention(attention_norm(x))
    return feedforward(feedforward_norm(x))


@mistake(
    block_forward,
    "The first residual is missing: the result of attention replaces the stream. It must be added to it.",
)
def first_residual_missing(x, attention_norm, attention, feedforward_norm, feedforward):
    x = attention(attention_norm(x))
    return x + feedforward(feedforward_norm(x))


mistake(
    block_forward,
    "Both residuals are missing: the stream is replaced twice. Add each result to it.",
    lambda x, norm1, attention, norm2, feedforward: feedforward(norm2(attention(norm1(x)))),
)


@mistake(
    block_forward,
    "The residual is taken from the normalised copy. Add the result to x itself: normalise inside the call, and do "
    "not overwrite x.",
)
def residual_from_the_norm(x, attention_norm, attention, feedforward_norm, feedforward):
    x = attention_norm(x)
    x = x + attention(x)
    x = feedforward_norm(x)
    return x + feedforward(x)


mistake(
    block_forward,
    "The feed-forward layer reads the block's input. It comes after attention and reads the new stream.",
    lambda x, norm1, attention, norm2, feedforward: x + attention(norm1(x)) + feedforward(norm2(x)),
)


@mistake(
    block_forward,
    "The sub-layers read the stream itself. Give each its normalised copy.",
)
def no_norms(x, attention_norm, attention, feedforward_norm, feedforward):
    x = x + attention(x)
    return x + feedforward(x)


@mistake(
    block_forward,
    "One norm is used twice. Each sub-layer has a norm of its own, with its own weights.",
)
def one_norm_twice(x, attention_norm, attention, feedforward_norm, feedforward):
    x = x + attention(attention_norm(x))
    return x + feedforward(attention_norm(x))


@mistake(
    block_forward,
    "The feed-forward layer comes first. A block begins with attention.",
)
def feedforward_first(x, attention_norm, attention, feedforward_norm, feedforward):
    x = x + feedforward(feedforward_norm(x))
    return x + attention(attention_norm(x))


@mistake(
    block_forward,
    "The second sum starts from the input again. Add the feed-forward result to the stream that attention has changed.",
)
def starts_again(x, attention_norm, attention, feedforward_norm, feedforward):
    stream = x + attention(attention_norm(x))
    return x + feedforward(feedforward_norm(stream))


@mistake(
    block_forward,
    "The input is added twice: once too often at the end.",
)
def input_twice(x, attention_norm, attention, feedforward_norm, feedforward):
    stream = x + attention(attention_norm(x))
    return x + stream + feedforward(feedforward_norm(stream))


mistake(
    block_forward,
    "The whole block's result goes through a norm once more. The stream is never normalised itself.",
    lambda x, attention_norm, attention, feedforward_norm, feedforward: feedforward_norm(
        block_forward(x, attention_norm, attention, feedforward_norm, feedforward)
    ),
)


# measure_scatter

mistake(
    measure_scatter,
    "That is the variance. The standard deviation is its root.",
    lambda p: dropout(torch.ones(20_000), p, True).var().item(),
)

mistake(
    measure_scatter,
    "That fits numbers that are kept as they are. Dropout divides them by 1 - p, and the noise grows with them.",
    lambda p: (torch.rand(20_000) >= p).float().std().item(),
)

mistake(
    measure_scatter,
    "That is the mean, which dropout leaves at 1. How far do the results lie from it?",
    lambda p: dropout(torch.ones(20_000), p, True).mean().item(),
)

mistake(
    measure_scatter,
    "Your results do not differ from each other: nothing is dropped in evaluation. Measure with training=True.",
    lambda p: 0.0,
)


# mend_stack


@mistake(
    mend_stack,
    "The result is right, but x is another one after the call. Which line writes into a tensor that it did not make?",
)
def writes_into_x(x, norms, layers, p, training):
    stream = x
    for norm, layer in zip(norms, layers, strict=True):
        stream += dropout(layer(norm(stream)), p, training)
    return stream


def _stack(step):
    """A stack whose stream becomes step(stream, norm, layer, p, training)."""

    def run(x, norms, layers, p, training):
        for norm, layer in zip(norms, layers, strict=True):
            x = step(x, norm, layer, p, training)
        return x

    return run


mistake(
    mend_stack,
    "The result of each layer replaces the stream. It must be added to it.",
    _stack(lambda x, norm, layer, p, training: dropout(layer(norm(x)), p, training)),
)

mistake(
    mend_stack,
    "The norm's copy went into the stream. Only the layer's result is added; the copy is for reading.",
    _stack(lambda x, norm, layer, p, training: norm(x) + dropout(layer(norm(x)), p, training)),
)

mistake(
    mend_stack,
    "Every layer reads the first x, not the stream that the layers before it have added to.",
    lambda x, norms, layers, p, training: x + sum(layer(norm(x)) for norm, layer in zip(norms, layers, strict=True)),
)
