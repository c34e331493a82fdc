"""Right answers of notebook 08 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch08_wikitext import epochs_and_hours, perplexity_per_word


@form(epochs_and_hours)
def step_by_step(steps, blocks, context_length, text_tokens, tokens_per_second):
    per_step = blocks * context_length
    tokens = steps * per_step
    epochs = tokens / text_tokens
    seconds = tokens / tokens_per_second
    minutes = seconds / 60
    hours = minutes / 60
    return epochs, hours


@form(perplexity_per_word)
def the_text_first(nats_per_token, tokens, words):
    nats = nats_per_token * tokens
    per_word = nats / words
    return math.exp(per_word)


@form(perplexity_per_word)
def tokens_of_a_word(nats_per_token, tokens, words):
    tokens_per_word = tokens / words
    perplexity = math.exp(nats_per_token)
    return perplexity**tokens_per_word
