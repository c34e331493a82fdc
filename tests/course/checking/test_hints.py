"""What is said of a wrong answer whose mistake has no name."""

import math

import pytest

from tinyllm.course.checking.judging import examine


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        (
            "gpt.embed",
            lambda ids, a, b: a[ids] + b[: ids.shape[1]] * (len(ids) == 1),
            "Right in 2 of 5 cases, wrong where B > 1",
        ),
        ("data.unigram_loss", lambda a, b, V: 1.0, "the same in every case"),
        ("attention.merge_heads", lambda x: 2 * x.transpose(1, 2).flatten(2), "right result times 2."),
        ("tokenization.merge", lambda ids, pair, new: None, "Is a `return` missing?"),
        ("scaling.compute_optimal", lambda flops, ratio=20.0: (1 / math.sqrt(flops), 1.0), ""),
    ],
)
def test_it_is_computed_from_all_cases(name, answer, words):
    verdict = examine(name, answer)
    assert words in verdict.message.partition("\nCase")[0]
    assert verdict.diagnosis == ""
