"""Other arguments for the reference: what they are, and that the sentence says it."""

import contextlib
import inspect
from types import SimpleNamespace

import pytest
import torch

from tinyllm.course.checking.substitutions import substitutions


def weighted(x, weights, scale: float = 2.0, shift: int = 0, plain: bool = False):
    return (x if plain else x * weights).sum() * scale + shift


X, WEIGHTS = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.5, 2.0]])
CASE = (X, WEIGHTS, 3.0, 5, False)


def said(answer=lambda *arguments: 0.25) -> dict[str, object]:
    """The results of the reference, by sentence; a change that makes no sense raises, and has none."""
    exercise = SimpleNamespace(case_parameters=inspect.signature(weighted).parameters, reference=weighted)
    results = {}
    for sentence, change in substitutions(exercise, answer, CASE):
        with contextlib.suppress(Exception):
            results.setdefault(sentence, weighted(*change(CASE)))
    return results


EXPECTED = {
    "You get the right result for `scale` = 2, whatever `scale` is: use the argument.":
        weighted(X, WEIGHTS, 2.0, 5),
    "You get the right result for `scale` = 0.25, whatever `scale` is: use the argument.":
        weighted(X, WEIGHTS, 0.25, 5),
    "You get the right result for `shift` + 1.": weighted(X, WEIGHTS, 3.0, 6),
    "You get the right result for `shift` - 1.": weighted(X, WEIGHTS, 3.0, 4),
    "You get the right result for the square of `scale`.": weighted(X, WEIGHTS, 9.0, 5),
    "You get the right result for `scale`, but at most 0.25.": weighted(X, WEIGHTS, 0.25, 5),
    "You get the right result for 0.25 times `x`.": weighted(0.25 * X, WEIGHTS, 3.0, 5),
    "You get the right result for `weights`, kept between -0.25 and 0.25.":
        weighted(X, WEIGHTS.clamp(-0.25, 0.25), 3.0, 5),
    "You get the right result for `x` and `weights` transposed.": weighted(X.T, WEIGHTS.T, 3.0, 5),
    "You get the right result for `plain` turned round.": weighted(X, WEIGHTS, 3.0, 5, True),
    "You get the right result for `x` transposed.": weighted(X.T, WEIGHTS, 3.0, 5),
    "You get the right result for the first of `weights` alone: the others count too.":
        weighted(X, WEIGHTS[:1].expand(2, 2), 3.0, 5),
    "You get the right result for `x` in reverse order.": weighted(X.flip(0), WEIGHTS, 3.0, 5),
    "You get the right result with `weights` in place of `x`.": weighted(WEIGHTS, WEIGHTS, 3.0, 5),
    "You get the right result with `x` in place of `weights`.": weighted(X, X, 3.0, 5),
}  # fmt: skip


@pytest.mark.parametrize("sentence", EXPECTED)
def test_a_substitution_does_what_its_sentence_says(sentence):
    assert said()[sentence] == EXPECTED[sentence]


def test_only_numbers_of_the_answers_own_code_are_tried():
    fixed = "You get the right result for `scale` = 0.75, whatever `scale` is: use the argument."
    assert fixed not in said()

    def answer(x, weights, scale, shift, plain):
        return [0.75 for _ in x]  # within a comprehension too

    assert fixed in said(answer)


def test_a_case_is_not_changed_by_what_is_made_of_it():
    before = [X.clone(), WEIGHTS.clone()]
    said()
    assert all(map(torch.equal, before, CASE[:2]))
