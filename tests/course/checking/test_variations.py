"""Small changes to a reference: what is changed, and that the sentence says it."""

import contextlib

import pytest

from tinyllm.course.checking.registry import EXERCISES, find_exercise
from tinyllm.course.checking.variations import variations, with_numbers


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
    "You get what comes out with `width` in one place where `height` belongs.": 32.0,
    "You get what comes out with `min` where `max` belongs.": 0.0,
    "You get what comes out with the square of `height` in one place.": 64.0,
    "You get what comes out with half of `a + b` in one place.": 8.0,
    "You return `width`, which is not yet the result.": 8,
    "You get what comes out if a special case is made of every case.": 0.0,
}


def results(found, sentence, *arguments):
    """What the variations with this sentence make of the arguments; some raise."""
    made = []
    for said, function in found:
        if said == sentence:
            with contextlib.suppress(Exception):
                made.append(function(*arguments))
    return made


@pytest.mark.parametrize("sentence", RESULTS)
def test_a_variation_does_what_its_sentence_says(sentence):
    found = results(variations(trapezoid), sentence, 3, 5, 4)
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


def steps(numbers, upper):
    """A loop, a part, a condition of two and a choice."""
    total: float = 0.0
    for number in numbers[1:]:
        if number > 0 and number < upper:
            total += number if number != 3 else 30
    return total, upper


STEPS = {  # of steps([1, 2, 3, 4, 9], 9), which is (36, 9)
    "You get what comes out if a loop runs backwards.": (36, 9),
    "You get what comes out if a loop goes over the first only.": (2, 9),
    "You get what comes out if a loop leaves out the last.": (36, 9),
    "You get what comes out if a loop leaves out every second.": (6, 9),
    "You get what comes out if the whole of `numbers` is taken, not a part.": (37, 9),
    "You get what comes out if one of two conditions is left out.": (45, 9),
    "You get what comes out if one of two cases is treated like the other.": (9, 9),
    "You get what comes out with == in one place where != belongs.": (63, 9),
    "You get what comes out with 60 in one place (an index, a dimension, a count) where 30 belongs.": (66, 9),
}


@pytest.mark.parametrize("sentence", STEPS)
def test_loops_conditions_and_parts_go_wrong_too(sentence):
    assert STEPS[sentence] in results(variations(steps), sentence, [1, 2, 3, 4, 9], 9)


def test_a_body_of_one_step_may_lose_it():
    merge = find_exercise("tokenization.merge").reference  # a loop whose branches have two steps each
    assert len(list(variations(merge))) > 100
    append = find_exercise("sampling.generate").reference  # a loop of one
    said = [sentence for sentence, _ in variations(append)]
    assert "You get what comes out if the step with `append` is left out." in said


def test_a_slip_in_a_reference_that_another_one_calls_is_named_by_it():
    said = [sentence for sentence, _ in variations(find_exercise("sampling.mend_choose").reference)]
    assert any(sentence.startswith("In `top_p`: you get what comes out with <= in one place") for sentence in said)
    assert all(sentence.endswith(".") or "others count" in sentence for sentence in said)


def test_numbers_of_the_answer_stand_where_others_belong():
    found = list(with_numbers(trapezoid, [7]))
    assert results(found, "You get what comes out with 7 in one place where 2 belongs.", 3, 5, 4) == [8 / 7 * 4]
    assert 14.0 in results(found, "You get what comes out with 7 in one place where `height` belongs.", 3, 1, 7)
    masked = list(with_numbers(find_exercise("attention.attention_weights").reference, [1e4]))
    assert "You get what comes out with 10000 in one place where infinity belongs." in dict(masked)


@pytest.mark.parametrize("name", ["attention.scores", "training.adamw_step", "modern.rotate"])
def test_all_that_can_go_wrong_is_made_once(name):
    reference = find_exercise(name).reference
    assert list(variations(reference)) == list(variations(reference))
    assert reference is EXERCISES[name].reference
