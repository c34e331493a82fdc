"""Right answers to the exercises of notebook 08, in other styles than the references."""

import numpy as np


def epochs_and_hours(steps, blocks, context_length, text_tokens, tokens_per_second):
    read = np.prod([steps, blocks, context_length], dtype=np.float64)
    seconds = read / tokens_per_second
    return float(read / text_tokens), float(seconds / 60 / 60)


def perplexity_per_word(nats_per_token, tokens, words):
    perplexity_per_token = np.e**nats_per_token
    return float(perplexity_per_token ** (tokens / words))
