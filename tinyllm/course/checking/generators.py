"""Arguments of each type as they also come: empty, of length 1, repeated, tied, huge, odd, at the edge.

An exercise's `cases` are made of these, so that an answer for the usual argument alone is found out:
`cases=lambda: [(ids, pair, 99) for ids in token_lists(pair)]`.
"""

import random
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def shapes(dimensions: int, count: int = 3) -> list[tuple[int, ...]]:
    """Shapes: all ones, then odd ones with another size in each dimension and a first one (the batch) above 1."""
    return [(1,) * dimensions, *(tuple(random.sample((2, 3, 4, 5, 7), dimensions)) for _ in range(count - 1))]


def score_tensors(*shape: int) -> list[Float[Tensor, "..."]]:
    """Logits or scores of one shape: usual ones, up to 300 in size, nearly all the same, with ties, all equal."""
    usual = 2 * torch.randn(shape)
    ties = torch.randint(3, shape).float()
    return [usual, 300 * (2 * torch.rand(shape) - 1), 100 + 0.1 * torch.randn(shape), ties, torch.zeros(shape)]


def distinct_scores(size: int, largest: float = 300.0) -> Float[Tensor, " N"]:
    """Scores from -largest to largest without ties, in any order, for what ties would leave undecided."""
    return (torch.randperm(size).float() + 0.3 * torch.rand(size)) * (2 * largest / size) - largest


def near_ties(size: int) -> Float[Tensor, " N"]:
    """Scores that differ by a few of the last bits of float32 only, in any order: the largest is still one of them."""
    return 1.5 + (2 * torch.randperm(size) + torch.randint(2, (size,))) * 2.0**-23


def tailed_scores(size: int) -> Float[Tensor, " N"]:
    """Scores whose smallest probability is 1e-5 or so, in any order: little, and not nothing."""
    return torch.linspace(-11.0, 0.0, size)[torch.randperm(size)]


def token_lists(common: Sequence[int] = (11, 300)) -> list[list[int]]:
    """Lists of token ids, above 9 too: empty, a single one, one repeated, all different, and `common` ones often."""
    first, last = common[0], common[-1]
    longer = int(f"3{first}"), int(f"{last}7")  # which end or begin with the same digits
    return [
        [],
        [first],
        [first] * random.randint(3, 6),
        random.sample(range(1000), 7),
        [longer[0], last, first, longer[1], first, last, *longer],
        *([*random.choices((first, last, 12), k=length)] for length in (2, 5, 12, 30)),
    ]


def symbol_words(count: int) -> dict[tuple[str, ...], int]:
    """Words in symbols that may be longer than a character, with how often each occurs; equal pairs, single symbols."""
    symbols = ["a", "b", "th", "ing", "é", "日本"]
    words: dict[tuple[str, ...], int] = {("th", "a", "th", "a"): random.randint(2, 9), ("aa", "a", "a"): 1}
    while len(words) < count:
        words[tuple(random.choices(symbols, k=random.randint(1, 5)))] = random.randint(1, 200)
    return words


def boundaries(low: float, high: float, count: int = 2) -> list[float]:
    """Both ends of a range, and values between them that are no round tenths."""
    return [low, high, *(random.uniform(low, high) for _ in range(count))]


def seeds() -> list[int]:
    """Seeds: zero, a large one and any."""
    return [0, 2**31 - 1, random.randrange(1, 10**6)]
