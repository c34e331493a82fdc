"""`check`, `hint` and `solution`."""

import pytest
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
    assert capsys.readouterr().out == f"gpt.embed: {find_exercise('gpt.embed').hint}\n"
    for ask in (hint, solution):
        with pytest.raises(ValueError, match=r"did you mean gpt\.embed"):
            ask("gpt.embde")
