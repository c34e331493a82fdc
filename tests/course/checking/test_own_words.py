"""Sentences in the learner's own words."""

from functools import partial

from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.own_words import names_in, without_names


def answer(ids, pair):
    total = list(ids)
    return lambda index: total[index]


def test_names_are_those_of_inner_functions_too():
    assert names_in(answer) >= {"ids", "pair", "total", "index"}
    assert names_in(partial(answer)) == names_in(len) == names_in(3) == set()


def test_code_with_foreign_names_is_not_quoted():
    sentence = "You get what comes out with `size` + 1 in one place where `head` belongs."
    assert without_names(sentence, {"size", "he"}) == sentence.replace("`size`", "an intermediate result")
    assert without_names("`(head + 1) * size` transposed", {"size"}) == "an intermediate result transposed"
    assert without_names("`resize` and `3`", {"size"}) == "`resize` and `3`"


def test_a_verdict_names_no_variable_of_the_course():
    def silenced(x, head, num_heads):
        width = x.shape[-1] // num_heads
        x = x.clone()
        x[..., head * width : (head + 1) * width + 1] = 0
        return x

    assert "an intermediate result" in examine("inside.switch_off", silenced).message
    assert "size" not in examine("inside.switch_off", silenced).message
