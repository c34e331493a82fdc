"""Exercises of notebook 08: what a long run takes, and how its result is compared."""

import math
import random

from tinyllm.course.checking.registry import Case, exercise


def _run() -> Case:
    """Steps, blocks, context_length, tokens of the text, tokens per second."""
    blocks, context = random.choice((8, 24, 32, 100)), random.choice((128, 500, 512, 1000))
    return random.randint(100, 200_000), blocks, context, random.randint(10**5, 10**9), random.uniform(1e3, 1e6)


@exercise(
    cases=lambda: [(10, 2, 5, 50, 100.0), (4000, 32, 512, 75_000_000, 420_000.0), *(_run() for _ in range(5))],
    hint="First the tokens that the run reads: steps times blocks times the tokens in a block. Divide them once by the "
    "text, and once by the speed. How many seconds has an hour?",
    why="An epoch is one reading of the text. The tokens of a run are exact, and so are its epochs; its hours are only "
    "as good as the speed.",
)
def epochs_and_hours(
    steps: int, blocks: int, context_length: int, text_tokens: int, tokens_per_second: float
) -> tuple[float, float]:
    """How often a run reads its text, and how many hours it takes."""
    tokens = steps * blocks * context_length
    return tokens / text_tokens, tokens / tokens_per_second / 3600


def _split() -> Case:
    """Nats per token, tokens, words."""
    words = random.randint(1000, 300_000)
    return random.uniform(1, 6), round(words * random.uniform(1.05, 2.5)), words


@exercise(
    cases=lambda: [(2.0, 100, 50), (3.0, 80, 80), (5.5, 283_486, 245_569), *(_split() for _ in range(4))],
    hint="How many nats does the whole text cost? Share them among its words, and take the exponential last.",
    why="The sum of nats belongs to the text, whatever its tokens are. Only the exponential of a mean is a perplexity, "
    "so divide first.",
)
def perplexity_per_word(nats_per_token: float, tokens: int, words: int) -> float:
    """Perplexity per word of a text of so many tokens and words."""
    return math.exp(nats_per_token * tokens / words)
