"""Exercises of notebook 05: from layers to a model.

Shape letters: B batch, T time (tokens), C embedding_dim, V vocab_size, L layers, F feedforward_dim.
"""

import math
import random
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.registry import Case, exercise


@exercise(
    cases=lambda: [
        _embedding_case(*sizes)
        for sizes in ((1, 1, 3, 2, 1), (2, 3, 5, 2, 6), (3, 3, 15, 4, 3), (1, 9, 40, 5, 20), (4, 7, 3, 1, 9))
    ],
    hint="Indexing a table with the ids gives (B, T, C). Which rows of the position table do T tokens need, and which "
    "of the two shapes has no B?",
    why="A layer of attention does not know the order of what it mixes. One learned row for each position tells every "
    "token where it is.",
)
def embed(
    token_ids: Int[Tensor, "B T"], token_table: Float[Tensor, "V C"], position_table: Float[Tensor, "context_length C"]
) -> Float[Tensor, "B T C"]:
    """Each token's row plus its position's row."""
    T = token_ids.shape[1]
    return token_table[token_ids] + position_table[:T]  # the same positions for each of the B rows


def _embedding_case(B: int, T: int, V: int, C: int, context_length: int) -> Case:
    return torch.randint(V, (B, T)), torch.randn(V, C), torch.randn(context_length, C)


@exercise(
    cases=lambda: [
        tuple(random.randint(2, 9) for _ in range(5)),
        tuple(random.randint(10, 99) for _ in range(5)),
        (random.randint(2, 99), 1, 1, 1, 1),
        (1024, 160, 192, 2, 768),
        (50_257, 512, 512, 8, 2048),
        (50_257, 1024, 1600, 48, 6400),
    ],
    hint="Count a block on paper first: two norms, the four matrices, and a bias for each output. Then what is "
    "outside the blocks.",
    why="With this one formula memorised you can size a model before you build it. For wide models 12 C C per layer "
    "is most of it.",
)
def parameter_count(
    vocab_size: int, context_length: int, embedding_dim: int, num_layers: int, feedforward_dim: int
) -> int:
    """The count of learned numbers, biases included. The head is the token table, so it counts once."""
    C, F = embedding_dim, feedforward_dim
    embeddings = vocab_size * C + context_length * C
    norm = 2 * C  # weight and bias
    attention = (C * 3 * C + 3 * C) + (C * C + C)  # queries, keys and values; the projection
    feedforward = (C * F + F) + (F * C + C)
    block = norm + attention + norm + feedforward
    return embeddings + num_layers * block + norm


_NAMES = (
    *(f"blocks.{i}.{layer}.projection.weight" for i in (0, 1, 11) for layer in ("attention", "feedforward")),
    "model.layers.23.attention.projection.weight",
    *(f"blocks.{i}.{layer}.weight" for i in (0, 10) for layer in ("attention.qkv", "feedforward.expand")),
    "token_embedding.weight",
    "position_embedding.weight",
    "wte.weight",
)


@exercise(
    cases=lambda: [(name, random.randint(1, 48)) for name in _NAMES],
    hint="How many times is something added to the stream in L layers? A sum of n independent numbers has n times the "
    "variance of one.",
    why="Each layer adds two results to the stream. With this factor, GPT-2's, their sum has the same standard "
    "deviation at any depth.",
)
def init_std(name: str, num_layers: int) -> float:
    """The standard deviation of a matrix's initial values: 0.02, but less for a projection into the residual stream.

    There it is 0.02 / sqrt(2 L): each of the L layers has two of these, so the stream does not grow with depth.
    """
    return 0.02 / math.sqrt(2 * num_layers) if "projection" in name else 0.02


@exercise(
    cases=lambda: [
        *(_hidden_case(*shape) for shape in ((1, 1, 4, 2), (1, 2, 4, 3), (2, 3, 4, 7), (3, 2, 5, 30))),
        (*(hidden := _hidden_case(2, 12, 6, 9))[:2], 100 * hidden[2]),  # logits of hundreds
    ],
    hint="What comes between the last block and the head? And does the loss take probabilities, or the scores before "
    "the softmax?",
    why="The head is the token table again (tied): a token scores high where the hidden state points along its row. "
    "Cross-entropy takes the softmax itself, stably.",
)
def logits(
    hidden: Float[Tensor, "B T C"], final_norm: Callable[[Tensor], Tensor], token_table: Float[Tensor, "V C"]
) -> Float[Tensor, "B T V"]:
    """Score each token of the vocabulary."""
    return final_norm(hidden) @ token_table.T


def _norm(C: int) -> nn.LayerNorm:
    """As after some training: its weights are not 1, nor its biases 0."""
    norm = nn.LayerNorm(C)
    nn.init.normal_(norm.weight, mean=1, std=0.5)
    nn.init.normal_(norm.bias)
    return norm


def _hidden_case(B: int, T: int, C: int, V: int) -> Case:
    return 3 * torch.randn(B, T, C), _norm(C), torch.randn(V, C)


@exercise(
    cases=lambda: [
        _loss_case(*sizes) for sizes in ((1, 1, 3, 1), (2, 3, 7, 2), (1, 5, 12, 3), (3, 4, 20, 4), (2, 12, 11, 10))
    ],
    hint="Follow one tensor through the loop: what does the second block read? Then read what the loss expects: "
    "scores or probabilities?",
    why="Each block must read what the block before it left, or all blocks but the last do nothing. And cross_entropy "
    "applies the softmax itself: after a second one, the loss can hardly fall.",
)
def mend_loss(
    token_ids: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"],
    token_table: Float[Tensor, "V C"],
    position_table: Float[Tensor, "context_length C"],
    blocks: list[nn.Module],
    final_norm: Callable[[Tensor], Tensor],
) -> Float[Tensor, ""]:
    """The mean loss, in nats per token, of a GPT that is given as its parts."""
    x = embed(token_ids, token_table, position_table)
    for block in blocks:
        x = block(x)
    scores = logits(x, final_norm, token_table)
    return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())


def _loss_case(B: int, T: int, V: int, L: int) -> Case:
    C = 4
    ids, targets = torch.randint(V, (2, B, T))
    return ids, targets, torch.randn(V, C), torch.randn(T + 2, C), [nn.Linear(C, C) for _ in range(L)], _norm(C)


@exercise(
    draws=True,
    cases=lambda: [(round(random.uniform(low, low + 0.3), 2),) for low in (0.5, 0.8, 1.2, 1.7)],
    observe=lambda function, spread: settle(function(spread), spread**2 / 2, spread**2, spread / 2, spread, band=0.15),
    hint="Multiply logits of a known spread by 2, and by 4. By what factor does the loss above ln V grow each time? "
    "Then find the constant.",
    why="For normally distributed logits the mean of exp(z) is exp(s * s / 2). Its logarithm is what knowing nothing "
    "costs above ln V, so a quiet model starts at ln V.",
)
def extra_loss(spread: float) -> float:
    """By how many nats the first loss lies above ln V, if the logits know nothing and have this standard deviation."""
    return spread**2 / 2
