"""Exercises of notebook 02: from articles to blocks, and how good a loss is."""

import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.checking.registry import Function, exercise


@exercise(
    cases=lambda: [_stream_case(length) for length in (1, 2, 3, 5, 8)],
    hint="Write down six tokens and mark a block of three. Which token must be guessed at each of its positions?",
    why="One block gives as many lessons as it has positions. The targets are the same text, one token further on.",
)
def next_token_pairs(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    """The block that begins at `start`, and its targets: at each position the next token."""
    end = start + context_length
    return tokens[start:end], tokens[start + 1 : end + 1]


def _stream_case(context_length: int) -> tuple[list[int], int, int]:
    tokens = random.sample(range(100), context_length + 4)
    return tokens, random.randint(1, 3), context_length


def _judge_split(function: Function, articles: list[str], fraction: float, seed: int) -> dict[str, int | bool]:
    """What is true of any good split: which articles are held out may vary."""

    def split(seed: int, state: int) -> tuple[list[str], list[str]]:
        random.seed(state)
        np.random.seed(state)
        torch.default_generator.manual_seed(state)
        result = function(list(articles), fraction, seed)
        parts = isinstance(result, tuple | list) and len(result) == 2 and all(isinstance(p, list) for p in result)
        if not parts or not all(isinstance(text, str) for part in result for text in part):
            raise Unusable("your result must be two lists of articles: train, held out.")
        return result[0], result[1]

    train, held_out = split(seed, 1)
    return {
        "number of articles held out": len(held_out),
        "each article is whole, and in exactly one list": sorted(train + held_out) == sorted(articles),
        "the same seed gives the same split": split(seed, 2) == (train, held_out),
        "another seed gives another split": any(split(seed + more, 1) != (train, held_out) for more in range(1, 11)),
    }


_SPLITS = ((12, 0.2), (18, 0.1), (15, 0.01), (30, 0.5))  # how many articles, and the share held out


@exercise(
    cases=lambda: [(_articles(count), fraction, random.randrange(1000)) for count, fraction in _SPLITS],
    hint="Give your shuffle a random generator of its own, made from the seed. What do you shuffle: lines or whole "
    "articles?",
    why="The lines of an article resemble each other. If some were trained on, the held-out ones would be easier than "
    "new text. The seed lets others make the same split.",
    observe=_judge_split,
)
def split_articles(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Training articles and held-out ones: max(1, round(fraction * n)) of the n articles, shuffled by `seed`."""
    shuffled = articles.copy()
    random.Random(seed).shuffle(shuffled)  # a generator of its own: the global one is left alone
    count = max(1, round(fraction * len(articles)))
    return shuffled[count:], shuffled[:count]


def _articles(count: int) -> list[str]:
    return [f" = {name} = \n\n One .\n Two .\n" for name in random.sample(range(99), count)]


@exercise(
    cases=lambda: [(_skewed(12, V), [*_skewed(6, V)[::-1], V - 1], V) for V in (3, 4, 6, 8, 10)],
    hint="Two texts, two jobs: one is counted, the other is scored. What must be added to the denominator if every "
    "count gets 1 more?",
    why="The test text plays no part in the counting, or the loss would be too good. V tokens got one count each, so "
    "the total grows by V and all p add up to 1.",
)
def unigram_loss(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    """Nats per token of the test text, for a model that knows only how often each token occurs in training.

    p(token) = (count + 1) / (N + V), so that an unseen token costs much, but not infinitely much.
    """
    counts = Counter(train_ids)
    total = len(train_ids) + vocab_size
    return sum(-math.log((counts[token] + 1) / total) for token in test_ids) / len(test_ids)


@exercise(
    # Each begins with a 0 and ends in a 1, so the sums of the rows are never those of the columns.
    cases=lambda: [([*_skewed(length, V), 1], V) for length, V in ((6, 3), (10, 4), (30, 4), (50, 5))],
    hint="Begin with a table of ones and loop over the pairs of neighbours. What must add up to 1: a row or a column?",
    why="A row answers one question: after this token, what comes next? The added count gives an unseen pair a small "
    "probability, and an unseen token a uniform row.",
)
def bigram_probabilities(ids: list[int], vocab_size: int) -> Float[Tensor, "V V"]:
    """How likely each token follows each other one: row = current token, column = next, one count added."""
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=1, keepdim=True)


def _skewed(length: int, vocab_size: int) -> list[int]:
    """Ids: low ones are common, and the last never occurs."""
    return [0, 1, *random.choices(range(vocab_size - 1), [1 / 2**k for k in range(vocab_size - 1)], k=length - 2)]


@exercise(
    cases=lambda: [
        *(
            (scale * torch.randn(N, V), torch.randint(V, (N,)))
            for N, V, scale in ((2, 3, 1), (4, 5, 2), (8, 10, 3), (3, 4, 1000))
        ),
        (torch.tensor([[1000.0, 0.0], [0.0, 1000.0]]), torch.tensor([0, 0])),  # one target nearly sure, one hopeless
        (100 + torch.randn(2, 3), torch.randint(3, (2,))),  # exp overflows, but no probability is near 0
    ],
    hint="Work with log p = logit - log(sum of exp). Which number can be subtracted from a whole row beforehand, so "
    "that exp stays small?",
    why="exp of 100 is too large for float32; with the largest logit subtracted, exp is at most 1. And without p "
    "itself, no tiny p can become 0 before its logarithm.",
)
def cross_entropy(logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"]) -> Float[Tensor, ""]:
    """Mean of -log softmax(logits)[target].

    The largest logit of a row is subtracted first. That changes no probability, and exp cannot overflow.
    """
    logits = logits - logits.max(dim=1, keepdim=True).values
    log_p = logits - logits.exp().sum(dim=1, keepdim=True).log()  # (N, V)
    return -log_p[torch.arange(len(targets)), targets].mean()


@exercise(
    cases=lambda: [([_drawn_article() for _ in range(count)],) for count in (1, 2, 3, 5, 5)],
    hint="How surprising was one draw, given its probability? Add up all the surprise, add up all the tokens, and "
    "divide at the end.",
    why="Only the draws are uncertain: the rest of the text follows from them at no cost. One sum over another gives "
    "every token the same weight, in long articles and in short ones.",
)
def floor_per_token(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    """The generator's own surprise, in nats per token.

    Each article is its draws, as (probabilities, index drawn), and its number of tokens.
    """
    nats = sum(-math.log(probabilities[drawn]) for draws, _ in articles for probabilities, drawn in draws)
    tokens = sum(tokens for _, tokens in articles)
    return nats / tokens


def _drawn_article() -> tuple[list[tuple[list[float], int]], int]:
    draws = []
    for _ in range(random.randint(1, 3)):
        weights = [random.choice([1, 2, 4, 8]) for _ in range(random.randint(2, 4))] + [16]  # never uniform
        probabilities = [weight / sum(weights) for weight in weights]
        draws.append((probabilities, random.choices(range(len(weights)), weights)[0]))
    return draws, random.randint(4, 40)
