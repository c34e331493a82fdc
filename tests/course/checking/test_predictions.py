"""`predict`: what it prints, and what is measured."""

import math
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tinyllm.course import predict
from tinyllm.course.checking import predictions, questions
from tinyllm.course.ladder import ARTICLES, course_text, reference_lines
from tinyllm.text import tinywiki
from tinyllm.text.entropy import article_entropy


@pytest.fixture(scope="module")
def prepared():
    return questions._prepared()


def test_no_prediction_yet_prints_the_question_and_measures_nothing(capsys, monkeypatch):
    monkeypatch.setattr(questions, "_prepared", None)
    assert len(predictions.PREDICTIONS) == 27
    for name, asked in predictions.PREDICTIONS.items():
        assert predict(name, None) is None
        first, *question = capsys.readouterr().out.splitlines()
        assert first == f"{name}: no prediction yet. Put your number in place of None."
        assert " ".join(question) == f"{asked.question} ({asked.unit})"
        assert asked.question.endswith("?")


@pytest.mark.parametrize("guess", ["6.9", [1], math.nan, math.inf, 10**400, True, 1j, torch.ones(2), print], ids=repr)
def test_a_guess_that_is_no_number_gets_one_sentence(guess, capsys):
    predict("05.first_loss", guess)
    printed = capsys.readouterr().out
    assert printed.startswith("05.first_loss: a prediction is one number, such as 3 or 0.5, not")
    assert printed.count("\n") <= 2
    assert len(printed) < 150


def test_a_guess_is_compared_with_what_is_measured(capsys):
    predict("02.uniform_loss", 11)
    predict("04.feedforward_share", 0.5)
    predict("04.feedforward_share", np.float64(2))
    assert capsys.readouterr().out.replace("\n", " ") == (
        "02.uniform_loss: you said 11, and 10.82 was measured here (nats per token). "
        "Your guess is too high by 0.1751, or 1.62%. "
        "04.feedforward_share: you said 0.5, and 2 was measured here (times as many weights). "
        "Your guess is too low by 1.5, or 75%. "
        "04.feedforward_share: you said 2, and 2 was measured here (times as many weights). Exactly so. "
    )


def test_measuring_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    predict("05.first_loss", 1)
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_prediction_is_an_error_with_near_names():
    with pytest.raises(ValueError, match=r"did you mean 05\.first_loss"):
        predict("5.first_loss", 7)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("02.uniform_loss", math.log(256 + 50_000 + 1)),
        ("03.zero_queries", 1 / 4),
        ("04.feedforward_share", 2),
        ("06.loss_times_1000", 1),
        ("07.commonest_town", 1 / sum(1 / rank**2 for rank in range(1, 17))),
        ("09.cache_factor", 4),
        ("10.perfect_copy", math.log(64) / 4),
        ("A2.paths", 2**20),
        ("12.attention_share", 100 * 2 * 8 * 512 / (14 * 8 * 512 + 50_257)),
    ],
)
def test_what_has_a_closed_form_is_measured_so(name, expected):
    assert predictions.PREDICTIONS[name].measure() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("02.half_rate", 2),
        ("03.spread", 4),
        ("04.dropout_scatter", 1),
        ("05.double_spread", 4),
        ("06.noise_left", 1 / 2),
        ("07.unspoilt", 0.99**100),
        ("09.gate_growth", 4),
        ("10.score_by_chance", sum(1 / t for t in range(11, 41)) / 30),
        ("11.leaked_share", 0.9),
        ("12.agreement", math.sqrt(0.5)),
        ("A2.stuck_rows", 0.427),
    ],
)
def test_what_is_drawn_or_counted_in_steps_is_near_its_closed_form(name, expected):
    assert predictions.PREDICTIONS[name].measure() == pytest.approx(expected, rel=0.1)


def test_the_first_loss_is_near_that_of_the_uniform_guess():
    assert questions.first_loss() == pytest.approx(math.log(1024), rel=0.02)


def test_few_directions_hold_most_of_a_gradient():
    assert 1 <= questions.strongest_directions() <= 24


def test_tokens_pass_a_matrix_faster_together():
    assert questions.batched_speed() > 1


def test_the_bigram_loss_is_counted_on_training_and_scored_on_test_articles(prepared):
    tokenizer, stream = prepared.tokenizer, prepared.splits["train"].tokens.tolist()
    pairs, firsts = Counter(pairwise(stream)), Counter(stream[:-1])
    text = "<|endoftext|>".join(["", *(article.text for article in tinywiki.articles("test")[:ARTICLES]), ""])
    ids = tokenizer.encode(text, allowed_special=["<|endoftext|>"])
    nats = [-math.log((pairs[pair] + 1) / (firsts[pair[0]] + 1024)) for pair in pairwise(ids)]
    assert questions.bigram_loss() == pytest.approx(sum(nats) / len(nats), rel=1e-9)


def test_the_draws_of_an_article_cost_its_entropy(prepared):
    assert questions.draws() == pytest.approx(article_entropy(), rel=0.03)
    text = course_text()
    tokens = sum(len(labels) for _, labels in text.labelled())
    assert questions.draws() * ARTICLES / tokens == pytest.approx(reference_lines(text)["floor"]["all"])


def test_the_surname_that_is_asked_for_is_the_first_articles(prepared):
    title = tinywiki.articles("train")[0].text.split("=")[1]
    surname = title.split()[1]
    assert surname in predictions.PREDICTIONS["01.surname_tokens"].question
    ids = prepared.tokenizer.encode(title)
    pieces = [prepared.tokenizer.decode([token]) for token in ids]
    number = int(questions.surname_tokens())
    assert "".join(pieces[-1 - number : -1]) == f" {surname}"


def test_the_hours_are_those_of_the_estimate(monkeypatch):
    monkeypatch.setattr(
        questions, "estimate", lambda config: SimpleNamespace(seconds=7200 * config.training.batch_size)
    )
    assert questions.hours() == 16
