"""One case of an answer: nothing it does comes out, and everything it does is noted."""

import time

import pytest
import torch

from tinyllm.course.checking import trials
from tinyllm.course.checking.registry import Exercise, Observed, call
from tinyllm.course.checking.trials import try_answer, try_case, try_reference


def exercise(reference, observe=call, gradients=True):
    return Exercise(reference, list, observe, "A hint.", "A reason.", gradients=gradients)


def double(x):
    return 2 * x


X = torch.arange(3.0)


def test_a_reference_whose_result_carries_gradients_is_tried_with_them():
    trial = try_reference(exercise(double), (X,))
    assert trial.gradients["x"].shape == (3,)
    assert torch.equal(trial.value, 2 * X)
    assert try_reference(exercise(double, gradients=False), (X,)).gradients is None
    assert try_reference(exercise(lambda x: x > 1), (X,)).gradients is None
    assert try_reference(exercise(double), (torch.arange(3),)).gradients is None
    assert not X.requires_grad


def test_an_answer_is_called_once_and_the_same_way():
    expected = try_reference(exercise(double), (X,))
    calls = []

    def answer(x):
        calls.append(x.requires_grad)
        return x + x

    got = try_answer(exercise(double), answer, (X,), expected)
    assert calls == [True]
    assert torch.equal(got.gradients["x"], expected.gradients["x"])
    got = try_answer(exercise(double), lambda x: torch.tensor(2 * x.numpy()), (X,), expected)
    assert torch.equal(got.value, 2 * X) and got.gradients is None


class Custom(BaseException):
    pass


def raises(error):
    def answer(x):
        raise error

    return answer


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), Custom(), GeneratorExit(), RecursionError()])
def test_whatever_an_answer_raises_is_kept(error):
    assert try_case(exercise(double), raises(error), (X,)).error is error


def test_a_keyboard_interrupt_is_the_learners():
    with pytest.raises(KeyboardInterrupt):
        try_case(exercise(double), raises(KeyboardInterrupt()), (X,))


def test_each_call_has_its_time(monkeypatch):
    monkeypatch.setattr(trials, "SECONDS", 0.5)

    def three_calls(function, x):
        return [function(x) for _ in range(3)]

    def slow(x):
        time.sleep(0.3)
        return x

    assert try_case(exercise(double, three_calls), slow, (X,)).error is None
    assert try_case(exercise(double), lambda x: time.sleep(20), (X,)).timed_out


def test_clues_are_kept_apart():
    trial = try_case(exercise(double, lambda function, x: Observed(function(x), "clue")), double, (1,))
    assert (trial.value, trial.clues) == (2, "clue")
