"""Small changes to a reference: what is changed, and that the sentence says it."""

import pytest

from tinyllm.course.checking.variations import variations


def trapezoid(a, b, height):
    if height < 0:
        return 0.0
    width = max(a + b, 0)
    return width / 2 * height


RESULTS = {  # of trapezoid(3, 5, 4), which is 16, by sentence
    "You get what comes out with - in one place where + belongs.": 0.0,
    "You get what comes out if one factor is left out.": 4.0,
    "You get what comes out if one division is left out.": 32.0,
    "You get what comes out upside down, b / a in place of a / b.": 1.0,
    "You get what comes out with 3 in one place (an index, a dimension, a count) where 2 belongs.": 8 / 3 * 4,
    "You get what comes out with `height` in one place where `a` belongs.": 18.0,
}


@pytest.mark.parametrize("sentence", RESULTS)
def test_a_variation_does_what_its_sentence_says(sentence):
    found = [made(3, 5, 4) for said, made in variations(trapezoid) if said == sentence]
    assert RESULTS[sentence] in [pytest.approx(one) for one in found]


def test_a_special_case_and_a_boundary_may_be_wrong():
    said = dict(variations(trapezoid))
    assert said["You get what comes out if the special case is left out."](3, 5, -4) == -16.0
    assert said["You get what comes out with <= in one place where < belongs."](3, 5, 0) == 0.0


def test_the_reference_itself_stays_as_it_is_and_what_may_fit_by_chance_comes_last():
    sentences = [said for said, _ in variations(trapezoid)]
    names = [index for index, said in enumerate(sentences) if "in one place where `" in said]
    steps = [index for index, said in enumerate(sentences) if "is left out" in said]
    assert max(steps) < min(names)
    assert trapezoid(3, 5, 4) == 16.0
