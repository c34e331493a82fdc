"""What learners usually get wrong in notebook 08. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs

import math

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch08_wikitext import epochs_and_hours, perplexity_per_word

# epochs_and_hours

mistake(
    epochs_and_hours,
    "A block has more than one token: multiply by context_length.",
    lambda steps, blocks, context_length, *rest: epochs_and_hours(steps, blocks, 1, *rest),
)

mistake(
    epochs_and_hours,
    "A step reads more than one block: multiply by blocks.",
    lambda steps, blocks, *rest: epochs_and_hours(steps, 1, *rest),
)


@mistake(
    epochs_and_hours,
    "The time is in seconds. An hour has 3,600 of them.",
)
def leaves_seconds(*arguments):
    epochs, hours = epochs_and_hours(*arguments)
    return epochs, hours * 3600


@mistake(
    epochs_and_hours,
    "The time is in minutes: divide by 60 once more.",
)
def leaves_minutes(*arguments):
    epochs, hours = epochs_and_hours(*arguments)
    return epochs, hours * 60


mistake(
    epochs_and_hours,
    "The two are swapped: epochs first, then hours.",
    lambda *arguments: epochs_and_hours(*arguments)[::-1],
)


@mistake(
    epochs_and_hours,
    "The epochs are upside down: divide the tokens that are read by those that there are.",
)
def epochs_upside_down(*arguments):
    epochs, hours = epochs_and_hours(*arguments)
    return 1 / epochs, hours


@mistake(
    epochs_and_hours,
    "Whole epochs only: part of one counts too. Divide with /, not with //.",
)
def whole_epochs(*arguments):
    epochs, hours = epochs_and_hours(*arguments)
    return float(int(epochs)), hours


@mistake(
    epochs_and_hours,
    "The hours are those of one epoch. The run reads steps times blocks times context_length tokens.",
)
def hours_of_one_epoch(steps, blocks, context_length, text_tokens, tokens_per_second):
    epochs, _ = epochs_and_hours(steps, blocks, context_length, text_tokens, tokens_per_second)
    return epochs, text_tokens / tokens_per_second / 3600


# perplexity_per_word

mistake(
    perplexity_per_word,
    "That is the perplexity per token. A word has more nats than a token, as it has tokens / words of them.",
    lambda nats_per_token, tokens, words: math.exp(nats_per_token),
)

mistake(
    perplexity_per_word,
    "You scale the perplexity. Scale the nats: the exponential comes last.",
    lambda nats_per_token, tokens, words: math.exp(nats_per_token) * tokens / words,
)

mistake(
    perplexity_per_word,
    "The share is upside down. All the nats are nats_per_token times tokens; divide them by the words.",
    lambda nats_per_token, tokens, words: math.exp(nats_per_token * words / tokens),
)

mistake(
    perplexity_per_word,
    "These are the nats of a word. Its perplexity is the exponential of that.",
    lambda nats_per_token, tokens, words: nats_per_token * tokens / words,
)

mistake(
    perplexity_per_word,
    "A nat belongs to the base e: math.exp, not 2 to the power.",
    lambda nats_per_token, tokens, words: 2 ** (nats_per_token * tokens / words),
)
