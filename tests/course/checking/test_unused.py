"""Arguments without effect."""

import math

import pytest
import torch

from tinyllm.course.checking.diagnosis import Judged
from tinyllm.course.checking.faults import Fault
from tinyllm.course.checking.registry import find_exercise
from tinyllm.course.checking.trials import try_case
from tinyllm.course.checking.unused import unused_argument


def said(name, answer):
    exercise = find_exercise(name)
    return unused_argument(exercise, answer, judged(exercise, answer, exercise.cases()))


def judged(exercise, answer, cases):
    return [
        Judged(case, try_case(exercise, exercise.reference, case), try_case(exercise, answer, case), Fault("wrong", ""))
        for case in cases
    ]


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


def one_held_out(articles, fraction, seed):
    """Which one depends on the fraction, though nothing that is judged does."""
    first = int(fraction * len(articles) + seed) % len(articles)
    turned = articles[first:] + articles[:first]
    return turned[1:], turned[:1]


HIDDEN = {
    "NaN": ("attention.attention_weights", lambda scores, mask: scores * mask.float().mean() * torch.nan),
    "NaN in one place": (
        "attention.attention_weights",
        lambda scores, mask: torch.where(torch.eye(len(mask)).bool(), scores, mask.float().sum() * torch.nan),
    ),
    "an overflow": ("scaling.intensity", lambda r, i, c, b=4: abs(r * i * c * b) * math.inf),
    "minus infinity": ("attention.attention_weights", lambda scores, mask: scores - mask.float().exp() / 0),
    "an empty list": ("tokenization.decode", lambda ids, tokens: b"" * len(ids)),
    "what raises": ("attention.attention_weights", lambda scores, mask: scores.sin().view(mask.shape[::-1])),
    "truth values made of the result": ("data.split_articles", one_held_out),
    "a last bit": ("scaling.intensity", lambda r, i, c, b=4: 2 * r * i / (b * (r + i) ** 1.1) * (1 + 1e-12 * c)),
    "chance": ("data.unigram_loss", lambda ids, scored: torch.rand(1).item() + 1e-9 * sum(ids) + 1e-9 * sum(scored)),
}


@pytest.mark.parametrize("why", HIDDEN)
def test_what_could_not_be_seen_is_not_denied(why):
    assert said(*HIDDEN[why]) == ""


def test_chance_hides_no_argument_without_effect():
    """An answer that measures draws the same numbers again."""
    assert said("clinic.leaked_share", lambda copies, held_out: torch.rand(1).item() * held_out) == (
        "Your result does not depend on `copies`. It should."
    )


def test_an_answer_is_called_with_changed_arguments_only():
    cases, called = [(101, 207, 311), (103, 211, 331), (107, 223, 337)], []

    def answer(rows, inner, columns, bytes_per_number=4):
        called.append((rows, inner, columns))
        return 1.5 * rows * inner

    exercise = find_exercise("scaling.intensity")
    wrong = judged(exercise, answer, cases)
    called.clear()
    assert unused_argument(exercise, answer, wrong) == "Your result does not depend on `columns`. It should."
    assert called and not set(called) & set(cases)
