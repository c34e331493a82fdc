"""Whether results say enough."""

import pytest
import torch

from tinyllm.course.checking.diagnosis import Judged
from tinyllm.course.checking.faults import Fault
from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.telling import shows, tells, tells_much, where_wrong
from tinyllm.course.checking.trials import Trial


def wrong(*values):
    return [Judged((), Trial(value=value), Trial(value=value), Fault("wrong", "not right yet.")) for value in values]


@pytest.mark.parametrize(
    ("values", "enough", "much"),
    [
        ([1.5], False, False),
        ([1.5, 2.5, 3.5], True, False),
        ([[1, 2]] * 3, True, False),
        ([True] * 9, False, False),
        ([{"it holds": True, "share": 0.5}], False, False),
        ([torch.ones(2, 2)], True, False),
        ([torch.ones(4, 4)], True, True),
        ([torch.ones(4, 4) > 0], False, False),
        (["text"], False, False),
    ],
)
def test_numbers_say_more_than_truth_values(values, enough, much):
    assert (tells(wrong(*values)), tells_much(wrong(*values))) == (enough, much)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (0, True),
        ({"it holds": False}, True),
        (torch.tensor([-torch.inf, 0.5]), True),
        ("a", True),
        ([1.5, (torch.inf, 2.5)], False),
        (torch.tensor([torch.nan, 0.5]), False),
        (torch.tensor([-torch.inf]), False),
        ([[], ""], False),
        (None, False),
    ],
)
def test_what_is_overflown_or_empty_shows_no_difference(value, seen):
    assert shows(value) == seen


def test_a_sentence_goes_on_after_its_beginning():
    assert where_wrong("You add it twice.") == "Where it is wrong, you add it twice."


def guarded(keep_first):
    """The token that crosses p is dropped, but the first one, or one more, is kept whatever it is."""

    def answer(logits, p):
        ordered, order = logits.sort(descending=True, stable=True)
        kept = ordered.softmax(0).cumsum(0) <= p
        kept[:keep_first] = True
        result = torch.full_like(logits, -torch.inf)
        result[order[kept]] = logits[order[kept]]
        return result

    return answer


def test_what_explains_all_wrong_cases_is_said_of_them_alone():
    said = examine("sampling.top_p", guarded(1)).diagnosis
    assert said.startswith("Where it is wrong, the token with which the sum crosses p is dropped.")
    said = examine("sampling.top_p", guarded(3)).diagnosis  # wrong in other cases as well
    assert "crosses p is dropped" not in said
