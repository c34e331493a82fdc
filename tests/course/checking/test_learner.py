"""`check`, `hint` and `solution`."""

import pytest
import torch
from answers import stub

from tinyllm.course import check, hint, solution
from tinyllm.course.checking.registry import find_exercise


def test_a_solution_is_shown_after_one_attempt(home, capsys):
    solution("attention.causal_mask")
    assert "try it once" in capsys.readouterr().out
    check("attention.causal_mask", stub)
    solution("attention.causal_mask")
    assert "try it once" in capsys.readouterr().out  # a stub is no attempt
    check("attention.causal_mask", lambda length: None)
    capsys.readouterr()
    solution("attention.causal_mask")
    assert ".tril()" in capsys.readouterr().out


def test_a_hint_is_one_thing_to_think_of(capsys):
    hint("gpt.embed")
    printed = capsys.readouterr().out
    assert printed.replace("\n", " ").strip() == f"gpt.embed: {find_exercise('gpt.embed').hint}"
    assert max(map(len, printed.splitlines())) <= 88
    for ask in (hint, solution):
        with pytest.raises(ValueError, match=r"did you mean gpt\.embed"):
            ask("gpt.embde")


def test_a_right_answer_is_what_the_notebook_goes_on_with(home, capsys):
    def causal_mask(length):
        return torch.ones(length, length).tril() == 1

    class Mask:
        def __call__(self, length):
            print("working")
            return causal_mask(length)

    answers = [causal_mask, Mask()]
    assert [check("attention.causal_mask", answer) for answer in answers] == answers
    assert "goes on with" not in capsys.readouterr().out


@pytest.mark.parametrize("answer", [stub, lambda length: None, lambda length: torch.ones(length, length) == 1, 5])
def test_otherwise_it_goes_on_with_the_reference_and_says_so(home, capsys, answer):
    assert check("attention.causal_mask", answer) is find_exercise("attention.causal_mask").reference
    assert capsys.readouterr().out.splitlines()[-1].endswith("goes on with the course's own function.")
