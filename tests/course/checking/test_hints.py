"""Where a wrong answer is right and where it is wrong."""

import pytest
import torch

from tinyllm.course.checking.diagnosis import Judged
from tinyllm.course.checking.faults import Fault
from tinyllm.course.checking.hints import advice, boundary, where
from tinyllm.course.checking.registry import find_exercise
from tinyllm.course.checking.trials import Trial

EXERCISE = find_exercise("sampling.temperature")
LOGITS = [torch.arange(float(size)) for size in (3, 4, 5, 4, 6, 2)]


def judged(*settings):
    """A case for each temperature, and whether the answer is right there."""
    return [
        Judged(
            (logits, tau),
            Trial(value=logits),
            Trial(value=logits if right else logits + logits**2),
            None if right else Fault("wrong", "not right yet."),
        )
        for logits, (tau, right) in zip(LOGITS, settings, strict=False)
    ]


def test_what_alone_is_wrong_at_the_edge_is_named():
    cases = judged((1.0, True), (0.5, True), (2.0, True), (0, False))
    assert boundary(EXERCISE, cases) == "It is right except where temperature = 0: treat that case as it should be."
    assert where(EXERCISE, cases) == "Right in 3 of 4 cases, wrong where temperature = 0."
    assert advice(EXERCISE, cases).endswith("Right in 3 of 4 cases, wrong where temperature = 0.")


NEIGHBOURS = {
    "not at an edge": judged((1.0, True), (0.5, True), (2.0, True), (0.3, False)),
    "too few are right": judged((1.0, True), (0, False)),
    "another fact sets it apart as well": judged((1.0, True), (0.5, True), (2.0, True), (4.0, True), (0, False)),
    "no fact sets them apart": judged((1.0, True), (0.5, False), (2.0, True), (0.5, True), (2.0, False)),
    "none is right": judged((1.0, False), (0, False)),
}


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_what_is_no_edge_or_not_the_only_one_is_not_named(neighbour):
    assert boundary(EXERCISE, NEIGHBOURS[neighbour]) == ""


def test_a_batch_of_one_may_be_all_that_is_right():
    exercise = find_exercise("modern.share_heads")  # B, K, T, D and the number of heads

    def case(B, K, T, right):
        keys = torch.ones(B, K, T, 2)
        return Judged((keys, 2 * K), Trial(), Trial(), None if right else Fault("wrong", "not right yet."))

    alone = [case(1, 2, 3, True), case(1, 1, 5, True), case(1, 3, 2, True), case(2, 2, 3, False), case(4, 1, 4, False)]
    assert boundary(exercise, alone).startswith("It is right only where B = 1")
    assert boundary(exercise, alone[1:]) == ""  # two kinds are few
