"""Arguments without effect."""

import pytest
import torch

from tinyllm.course.checking.diagnosis import Judged
from tinyllm.course.checking.faults import Fault
from tinyllm.course.checking.registry import find_exercise
from tinyllm.course.checking.trials import try_case
from tinyllm.course.checking.unused import unused_argument


def said(name, answer):
    exercise = find_exercise(name)
    wrong = [
        Judged(case, try_case(exercise, exercise.reference, case), try_case(exercise, answer, case), Fault("wrong", ""))
        for case in exercise.cases()
    ]
    return unused_argument(exercise, answer, wrong)


UNUSED = {
    "scaling.intensity": (lambda r, i, c, b=4: 2 * r * i / (b * (r + i) ** 1.1), "columns"),
    "attention.attention_weights": (lambda scores, mask: scores.sin(), "mask"),
    "clinic.leaked_share": (lambda copies, held_out: held_out**0.3, "copies"),
    "training.learning_rate": (lambda i, n, w, most, least: most * 0.97**i, "max_iterations"),
    "gpt.embed": (lambda ids, tokens, positions: tokens[ids].sin(), "position_table"),
    "tokenization.merge": (lambda ids, pair, new: [*ids, new], "pair"),
}


@pytest.mark.parametrize("name", UNUSED)
def test_an_argument_without_effect_is_named(name):
    answer, argument = UNUSED[name]
    if name == "tokenization.merge":  # a pair is no number: it is not changed
        assert said(name, answer) == ""
    else:
        assert said(name, answer) == f"Your result does not depend on `{argument}`. It should."


NEIGHBOURS = {
    "scaling.intensity": lambda r, i, c, b=4: 2 * r * i / (b * (r + i) ** 1.1) + 1e-3 * c,
    "attention.attention_weights": lambda scores, mask: scores.sin() * mask.float().mean(),
    "clinic.leaked_share": lambda copies, held_out: held_out ** (0.3 if copies < 3 else 0.4),
    "modern.rotate": lambda x, frequencies: x + 0 * torch.rand(1) + frequencies.sum(),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_small_effect_is_one(name):
    assert said(name, NEIGHBOURS[name]) == ""
