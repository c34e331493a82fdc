"""What is said of the results of a wrong answer whose mistake is not on the list."""

import math

import pytest
import torch

from tinyllm.course.checking.diagnosis import Judged
from tinyllm.course.checking.faults import Fault
from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.registry import find_exercise
from tinyllm.course.checking.results import relation
from tinyllm.course.checking.trials import Trial

NAMED = {
    "attention.merge_heads": (lambda x: 2 * x.transpose(1, 2).flatten(2), "It is the right result times 2."),
    "data.unigram_loss": (lambda a, b, V: 1.0, "Your result is the same in every case: does it use its arguments?"),
    "scaling.compute_optimal": (
        lambda flops, ratio=20.0: ((flops / 6 / ratio) ** 0.5, flops / (flops / 6 / ratio) ** 0.5),
        "`result[1]`: It is the right result times 6.",
    ),
    "training.noise_left": (lambda count: count**-0.4, "It is the right result to the power 0.8."),
    "sampling.top_p": (lambda logits, p: logits, "It is `logits`, as it was given."),
    "modern.rotate": (lambda x, frequencies: x, "It is `x`, as it was given."),
    "scaling.agreement": (
        lambda batch, scale: 0.9,
        "Your result is the same in every case: does it use its arguments?",
    ),
    "attention.mend_window": (
        lambda q, k, v, window: torch.zeros_like(v),
        "It is zero everywhere.",
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_holds_between_all_results_names_the_fault(name):
    answer, sentence = NAMED[name]
    verdict = examine(name, answer)
    assert verdict.diagnosis.startswith(sentence)
    assert verdict.diagnosis in verdict.message


NEIGHBOURS = {  # each nearly has the property of one above
    "attention.merge_heads": lambda x: (2 + 1e-2 * torch.rand(1)) * x.transpose(1, 2).flatten(2),
    "scaling.compute_optimal": lambda flops, ratio=20.0: (1 / math.sqrt(flops), math.sin(flops)),
    "training.noise_left": lambda count: count**-0.4 * (1 if count < 64 else 1.3),
    "modern.rotate": lambda x, frequencies: torch.cat([x[:-1], 3 * x[-1:] ** 3]),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_what_holds_in_some_cases_only_is_not_said(name):
    said = examine(name, NEIGHBOURS[name]).diagnosis
    assert "right result" not in said
    assert "as it was given" not in said


def test_nan_is_not_called_the_same_in_every_case():
    verdict = examine("data.unigram_loss", lambda train, test, size: math.nan * len(train))
    assert "your result is NaN" in verdict.message
    assert "does it use its arguments" not in verdict.message


def test_the_one_kind_of_case_that_is_wrong_is_named():
    """The answer is wrong there in a way that no single slip explains."""

    def answer(logits, temperature):
        return (logits / temperature).softmax(0) if temperature else torch.linspace(1, 2, len(logits)).sin()

    verdict = examine("sampling.temperature", answer)
    assert verdict.diagnosis == "It is right except where temperature = 0: treat that case as it should be."


def test_where_it_is_wrong_is_said_if_nothing_else_can_be():
    verdict = examine(
        "gpt.embed", lambda ids, a, b: a[ids] + b[: ids.shape[1]] * (1 if len(ids) == 1 else a[ids].sin())
    )
    assert verdict.diagnosis == ""
    assert "Right in 4 of 10 cases, wrong where B > 1" in verdict.message


def test_a_type_is_named_by_its_fault():
    verdict = examine("tokenization.merge", lambda ids, pair, new: None)
    assert verdict.diagnosis == "your result is None; it should be a list. Is a `return` missing?"
    assert examine("block.gelu", lambda x: x * torch.nan).diagnosis == ""  # what came back, not what went wrong


def test_what_does_not_hold_may_differ_from_case_to_case():
    right = {"one is odd": True, "two is even": True, "three": 3}

    def said(*wrong):
        judged = [
            Judged(([], 0.5, 1), Trial(value=right), Trial(value=right | got), Fault("wrong", "not right yet."))
            for got in wrong
        ]
        return relation(find_exercise("data.split_articles"), judged)

    odd, even = {"one is odd": False}, {"two is even": False}
    assert said(odd, odd | even) == "It does not hold that one is odd."
    assert said(odd, even, even) == "It does not hold that one is odd; in other cases, that two is even."
    assert said(odd, even, {"three": 4}) == ""  # nothing is known of the last
