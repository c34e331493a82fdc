"""Each reference of notebook 08 beside an independent one."""

import pytest

import tinyllm
from tinyllm.course.exercises import ch08_wikitext as wikitext
from tinyllm.evaluation import Evaluation


def test_epochs_and_hours_are_those_of_the_estimate():
    config = tinyllm.PRESETS["wikitext103"]
    training, tokens = config.training, tinyllm.estimate(config).tokens
    numbers = training.max_iterations, training.global_batch, config.model.context_length
    epochs, hours = wikitext.epochs_and_hours(*numbers, 118_000_000, 1000.0)
    assert (epochs, hours) == pytest.approx((tokens / 118e6, tokens / 3.6e6))


def test_perplexity_per_word_is_the_evaluations():
    result = Evaluation(nats=650.0, tokens=200, words=130, bytes=900)
    mine = wikitext.perplexity_per_word(result.nats_per_token, result.tokens, result.words)
    assert mine == pytest.approx(result.perplexity_per_word)
