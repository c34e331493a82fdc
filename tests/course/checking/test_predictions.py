"""`predict`: what it prints."""

import math

import numpy as np
import pytest
import torch

from tinyllm.course import predict
from tinyllm.course.checking import measurements, predictions


def test_no_prediction_yet_prints_the_question_and_measures_nothing(capsys, monkeypatch):
    monkeypatch.setattr(measurements, "_prepared", None)
    assert len(predictions.PREDICTIONS) == 29
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
