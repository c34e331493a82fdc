"""What a learner reads of a patient: code that runs, has the bug in it and does not name it."""

import ast

import pytest

from tinyllm.course import clinic
from tinyllm.course.clinic.listing import cure, lines


@pytest.mark.parametrize("number", range(1, 13))
def test_the_lines_of_a_patient_are_few_without_hints_and_hold_its_bug(number):
    code = lines(number)
    assert 4 <= len(code.splitlines()) <= 20
    assert max(map(len, code.splitlines())) <= 88
    defined = {node.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)}
    assert not any(name.startswith("_") and name != "__init__" for name in defined)
    assert "#" not in code and '"""' not in code
    taken_out = [line[2:] for line in cure(number).splitlines() if line[0] == "-"]
    assert set(taken_out) <= set(code.splitlines())
    assert cure(number).count("\n") <= 4


def test_the_cure_is_what_differs():
    assert cure(6) == "-     return 1.0\n+     return math.sqrt(head_dim)"
    assert cure(5) == "+     optimizer.zero_grad()"
    assert "0.3, betas" in lines(4)
    with pytest.raises(ValueError, match="patients 1 to 12"):
        lines(13)


def test_lines_are_those_that_run():
    """Patient 11's method, compiled from its lines, draws as the patient does."""
    draw = next(node for node in ast.parse(lines(11)).body if node.name == "draw_embeddings")
    model = clinic.HEALTHY.model()
    names = {"nn": __import__("torch").nn}
    exec(ast.unparse(draw), names)
    names["draw_embeddings"](model)
    assert model.embedding.weight.std().item() == pytest.approx(1, abs=0.05)
