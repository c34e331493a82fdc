"""Exercises of notebook 02: from articles to blocks, and how good a loss is."""

import math
import random
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.checking.registry import Function, exercise


@exercise(
    cases=lambda: [
        *(_stream_case(length) for length in (1, 2, 3, 5, 8)),
        (list(range(500, 506)), 0, 5),  # the whole stream: its last token is a target only
        ([7, 7, 9, 7, 7, 9], 2, 3),
    ],
    hint="Write down six tokens and mark a block of three. Which token must be guessed at each of its positions?",
    why="One block gives as many lessons as it has positions. The targets are the same text, one token further on.",
)
def next_token_pairs(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    """The block that begins at `start`, and its targets: at each position the next token."""
    end = start + context_length
    return tokens[start:end], tokens[start + 1 : end + 1]


def _stream_case(context_length: int) -> tuple[list[int], int, int]:
    tokens = random.sample(range(50_000), context_length + 9)
    return tokens, random.randint(1, 7), context_length


def _judge_split(function: Function, articles: list[str], fraction: float, seed: int) -> dict[str, int | bool]:
    """What is true of any good split: which articles are held out may vary."""

    def split(seed: int, state: int) -> tuple[list[str], list[str]]:
        random.seed(state)
        np.random.seed(state)
        torch.default_generator.manual_seed(state)
        result = function(list(articles), fraction, seed)
        parts = isinstance(result, tuple | list) and len(result) == 2
        parts = parts and all(isinstance(part, list | tuple | np.ndarray) for part in result)
        if not parts or not all(isinstance(text, str) for part in result for text in part):
            raise Unusable("your result must be two lists of articles: train, held out.")
        return list(result[0]), list(result[1])

    train, held_out = split(seed, 1)
    return {
        "number of articles held out": len(held_out),
        "each article is whole, and in exactly one list": sorted(train + held_out) == sorted(articles),
        "those held out are no run of neighbours": not _is_run(
            [articles.index(text) for text in held_out], len(articles)
        ),
        "the same seed gives the same split": split(seed, 2) == (train, held_out),
        "another seed gives another split": any(split(seed + more, 1) != (train, held_out) for more in range(1, 11)),
    }


def _is_run(places: list[int], count: int) -> bool:
    """Whether they are one piece of the list, which may go on at its beginning. Many are hardly ever so by chance."""
    inside = set(places)
    ends = sum(place in inside and (place + 1) % count not in inside for place in range(count))
    return ends == 1 and 11 < len(inside) < count - 11


# How many articles, and the share held out: 1.8 and 2.4 articles, none but for the one that must be, and a half.
_SPLITS = ((12, 0.2), (18, 0.1), (15, 0.01), (30, 0.5), (31, 0.06), (400, 0.05))


@exercise(
    cases=lambda: (
        [(_articles(count), fraction, random.randrange(1000)) for count, fraction in _SPLITS]
        + [(_articles(20), 0.3, 0), (_articles(20), 0.3, 2**31 + 11)]
        + [(2 * _articles(9), 0.3, random.randrange(1000))]  # the same article twice counts twice
    ),
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
    return [f" = {name} = \n\n One .\n Two .\n" for name in random.sample(range(999), count)]


@exercise(
    cases=lambda: [
        *((_skewed(12, V), [*_skewed(6, V)[::-1], V - 1], V) for V in (3, 4, 6, 8, 10)),
        (_skewed(300, 60), random.choices(range(60), k=40), 60),
        ([2], [0, 2, 2], 3),
        ([], [1], 5),  # nothing counted: the uniform guess
    ],
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
    cases=lambda: (
        [([*_skewed(length, V), 1], V) for length, V in ((6, 3), (10, 4), (30, 4), (50, 5), (200, 30))]
        + [([2], 4), ([1, 1, 1, 1], 2)]
    ),
    hint="Begin with a table of ones and loop over the pairs of neighbours. What must add up to 1: a row or a column?",
    why="A row answers one question: after this token, what comes next? The added count gives an unseen pair a small "
    "probability, and an unseen token a uniform row. A loop is right too; accumulate=True adds repeated pairs at once.",
)
def bigram_probabilities(ids: list[int], vocab_size: int) -> Float[Tensor, "V V"]:
    """How likely each token follows each other one: row = current token, column = next, one count added."""
    counts = torch.ones(vocab_size, vocab_size)
    tokens = torch.tensor(ids)
    counts.index_put_((tokens[:-1], tokens[1:]), torch.tensor(1.0), accumulate=True)
    return counts / counts.sum(dim=1, keepdim=True)


def _skewed(length: int, vocab_size: int) -> list[int]:
    """Ids: low ones are common, and the last never occurs."""
    return [0, 1, *random.choices(range(vocab_size - 1), [1 / 2**k for k in range(vocab_size - 1)], k=length - 2)]


@exercise(
    cases=lambda: [
        *(
            (scale * torch.randn(N, V), torch.randint(V, (N,)))
            for N, V, scale in ((2, 3, 1), (4, 5, 2), (8, 10, 3), (1, 6, 1), (3, 4, 300), (3, 4, 1000))
        ),
        (torch.tensor([[1000.0, 0.0], [0.0, 1000.0]]), torch.tensor([0, 0])),  # one target nearly sure, one hopeless
        (torch.tensor([[300.0, 0.0, 0.0]]), torch.tensor([2])),  # exp fits into 64 bits, and p not into 32
        (100 + torch.randn(2, 3), torch.randint(3, (2,))),  # exp overflows, but no probability is near 0
        (torch.randn(2, 3) - 200, torch.randint(3, (2,))),  # every exp is 0
        (torch.full((3, 4), 2.5), torch.tensor([0, 3, 3])),  # ties
        (2 * torch.randn(5, 3), torch.randint(3, (5,))),
        (torch.randn(6, 4).T[:, 1:], torch.randint(5, (4,))),  # a view that is not contiguous
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
    cases=lambda: (
        [([_drawn_article() for _ in range(count)],) for count in (1, 2, 3, 5, 5)]
        + [([([], 7), _drawn_article()],)]
        # An article without a draw has tokens too. So many draws that the product of all p is 0 in floating point.
        + [([_drawn_article(3000)],)]
    ),
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


def _drawn_article(count: int | None = None) -> tuple[list[tuple[list[float], int]], int]:
    draws = []
    for _ in range(count or random.randint(1, 3)):
        weights = [random.choice([1, 2, 4, 8]) for _ in range(random.randint(2, 4))] + [16]  # never uniform
        probabilities = [weight / sum(weights) for weight in weights]
        draws.append((probabilities, random.choices(range(len(weights)), weights)[0]))
    return draws, 10 * len(draws) + random.randint(4, 40)


def _judge_batches(
    function: Function, stream: list[int], context_length: int, batch_size: int, seed: int
) -> dict[str, bool | list[int]]:
    """What is true of any good batches: their order may vary with the seed."""
    starts = range(0, len(stream) - context_length, context_length)
    blocks = {tuple(stream[start : start + context_length]): start for start in starts}

    def batches(seed: int) -> list[list[list[list[int]]]]:
        result = function(list(stream), context_length, batch_size, seed)
        try:
            return [[[list(map(int, row)) for row in part] for part in (batch[0], batch[1])] for batch in result]
        except (TypeError, ValueError, IndexError):
            raise Unusable("your result must be a list of batches, each of them (inputs, targets).") from None

    once = batches(seed)
    others = [batches(seed + more) for more in range(1, 9)]
    rows = [tuple(row) for inputs, _ in once for row in inputs]
    following = [row for _, targets in once for row in targets]
    wanted = [stream[start + 1 : start + context_length + 1] for start in starts]
    return {
        "rows of inputs in each batch": [len(inputs) for inputs, _ in once],
        "rows of targets in each batch": [len(targets) for _, targets in once],
        "each full block is in exactly one batch": sorted(rows) == sorted(blocks),
        "each row of targets is some block, one token further on": len(once) == 0
        or all(row in wanted for row in following),
        "each row of targets is its own row of inputs, one token further on": all(
            row in blocks and targets == stream[blocks[row] + 1 : blocks[row] + context_length + 1]
            for row, targets in zip(rows, following, strict=False)
        ),
        "the same seed gives the same batches": batches(seed) == once,
        "another seed gives another order": any(other != once for other in others),
        "blocks that are neighbours in the stream may come in two batches": any(
            (rows.index(one) // batch_size) != (rows.index(other) // batch_size)
            for result in (once, *others)
            for rows in [[tuple(row) for inputs, _ in result for row in inputs]]
            for one, other in zip(list(blocks)[::batch_size], list(blocks)[1::batch_size], strict=False)
            if one in rows and other in rows
        ),
    }


@exercise(
    cases=lambda: [
        (random.sample(range(999), length), T, batch_size, random.randrange(1000))
        for length, T, batch_size in ((25, 4, 2), (33, 4, 3), (41, 2, 4), (60, 1, 7), (50, 7, 3), (31, 4, 3))
    ],
    observe=_judge_batches,
    hint="Take a stream of the numbers 0 to 24, look at the first batch, and compare each row of targets with its "
    "inputs. After which line is that no longer so?",
    why="A row of inputs and its targets belong together, so they are shuffled as one. Shuffled one after the other, "
    "even by one generator, they land in two different orders, and a model learns only how common each token is.",
)
def mend_batches(
    stream: list[int], context_length: int, batch_size: int, seed: int
) -> list[tuple[list[list[int]], list[list[int]]]]:
    """Batches of (inputs, targets) with each full block of the stream once, in an order drawn from `seed`."""
    shuffler = random.Random(seed)
    rows = []
    for start in range(0, len(stream) - context_length, context_length):
        rows.append(next_token_pairs(stream, start, context_length))
    shuffler.shuffle(rows)
    batches = []
    for first in range(0, len(rows), batch_size):
        some = rows[first : first + batch_size]
        batches.append(([inputs for inputs, _ in some], [targets for _, targets in some]))
    return batches


def _judge_steps(function: Function, ids: list[int], vocab_size: int, learning_rate: float, goal: float) -> Any:
    """Whether a step is counted before or after it is taken does not matter."""
    expected = measure_steps(ids, vocab_size, learning_rate, goal)
    return settle(function(list(ids), vocab_size, learning_rate, goal), expected, band=max(0.05, 2 / expected))


@exercise(
    cases=lambda: [
        *(_steps_case(rate, V) for rate, V in ((2.0, 4), (3.0, 7), (6.0, 5))),
        ([0, 1, 2, 0, 1], 3, 0.01, 0.1),  # out of reach
    ],
    observe=_judge_steps,
    hint="Take the loop of this section. What does the table start from here, and when does the loop end?",
    why="Near the start the gradient is much the same at any learning rate. Half the rate goes half as far with each "
    "step, so it needs about twice as many.",
)
def measure_steps(ids: list[int], vocab_size: int, learning_rate: float, goal: float) -> int:
    """How many plain steps a table of zeros needs until its loss on the pairs of `ids` is below `goal`; at most 200."""
    table = nn.Embedding(vocab_size, vocab_size)
    nn.init.zeros_(table.weight)
    optimizer = torch.optim.SGD(table.parameters(), lr=learning_rate)
    known, wanted = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
    for step in range(200):
        loss = F.cross_entropy(table(known), wanted)
        if loss < goal:
            return step
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        optimizer.step()
    return 200


def _steps_case(learning_rate: float, vocab_size: int) -> tuple[list[int], int, float, float]:
    """The goal lies between the uniform loss and the best of any table: some dozens of steps away."""
    ids = [0, 1, 2, 3, 0, 2, 1, 3, *random.choices(range(4), k=6)]
    firsts, pairs = Counter(ids[:-1]), Counter(pairwise(ids))
    best = -sum(n * math.log(n / firsts[left]) for (left, _), n in pairs.items()) / (len(ids) - 1)
    return ids, vocab_size, learning_rate, best + random.uniform(0.2, 0.3) * (math.log(vocab_size) - best)
