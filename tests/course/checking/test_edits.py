"""What may go wrong at one place of some code."""

import ast

import pytest

from tinyllm.course.checking.edits import always, edits


def edited(code, names=("x", "y")):
    """{sentence: the code that comes out} of a statement or an expression."""
    found = {}
    for sentence, _ in edits(_node(code), list(names)):
        made = dict(edits(_node(code), list(names)))[sentence](_node(code))
        found[sentence] = ast.unparse(ast.fix_missing_locations(made))
    return found


def _node(code):
    node = ast.parse(code).body[0]
    return node.value if isinstance(node, ast.Expr) else node


SLIPS = [
    ("x - y", "You get what comes out with + in one place where - belongs.", "x + y"),
    ("x - y", "You get what comes out with b - a in one place where a - b belongs.", "y - x"),
    ("x / y", "You get what comes out upside down, b / a in place of a / b.", "y / x"),
    ("x @ y", "You get what comes out with the two sides of a matrix product exchanged.", "y @ x"),
    ("x < y", "You get what comes out with > in one place where < belongs.", "x > y"),
    ("x < y", "You get what comes out with <= in one place where < belongs.", "x <= y"),
    ("x in y", "You get what comes out with not in in one place where in belongs.", "x not in y"),
    ("x and y and z", "You get what comes out if one of two conditions is left out.", "x and y"),
    ("-x", "You get what comes out if one minus sign is left out.", "x"),
    ("x.exp()", "You get what comes out if `exp` is left out.", "x"),
    ("math.exp(x)", "You get what comes out with `log` where `exp` belongs.", "math.log(x)"),
    ("sum(x)", "You get what comes out with `max` where `sum` belongs.", "max(x)"),
    ("x.mean(dim=-1)", "You get what comes out if `mean` is called without `dim`.", "x.mean()"),
    ("x[1:]", "You get what comes out if the whole of `x` is taken, not a part.", "x"),
    ("x", "You get what comes out with `y` in one place where `x` belongs.", "y"),
    ("x", "You get what comes out with twice `x` in one place.", "_made_twice(x)"),
    ("3", "You get what comes out with 4 in one place (an index, a dimension, a count) where 3 belongs.", "4"),
    (
        "0.5",
        "You get what comes out with 0.05 in one place (an index, a dimension, a count) where 0.5 belongs.",
        "0.05",
    ),
    ("return x + y", "You return `x`, which is not yet the result.", "return x"),
    ("x = y.step()", "You get what comes out if the step with `step` is left out.", "pass"),
    ("x += 1", "You get what comes out if the step that makes `x` is left out.", "pass"),
]


@pytest.mark.parametrize(("code", "sentence", "made"), SLIPS, ids=range(len(SLIPS)))
def test_a_slip_does_what_its_sentence_says(code, sentence, made):
    assert edited(code)[sentence] == made


def test_what_is_long_is_called_by_its_kind():
    said = edited("first_of_all + second_of_all + third_of_all")
    assert "You get what comes out with half of a sum in one place." in said
    assert "You get what comes out with half of the result of `sqrt` in one place." in edited(
        "x.sqrt(and_much, more_of_it)"
    )


def test_truth_values_and_texts_stay_as_they_are():
    assert not edited("True")
    assert not edited("'text'")
    assert not edited("z")  # a name of something else, such as a module


def test_a_node_may_always_become_another():
    assert ast.unparse(always(ast.Constant(7))(_node("x"))) == "7"
