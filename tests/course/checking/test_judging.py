"""What `check` says to every kind of answer."""

import inspect
import math
import random
import re
import time
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tinyllm.course import check
from tinyllm.course.checking import judging
from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.registry import EXERCISES, find_exercise
from tinyllm.course.checking.unused import unused_argument
from tinyllm.course.exercises import ch01_tokenization as tokenization
from tinyllm.course.exercises import ch03_attention as attention


@pytest.mark.parametrize("answer", [None, 3, "causal_mask", torch.ones(3, 3)], ids=repr)
def test_what_is_no_function_gets_one_sentence(answer, capsys):
    check("attention.causal_mask", answer)
    printed = capsys.readouterr().out
    assert printed.startswith("attention.causal_mask: give the function itself, causal_mask, not ")
    assert printed.count("\n") == 2  # and that the notebook goes on


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda length: None, "your result is None; it should be a tensor of shape (1, 1). Is a `return` missing?"),
        (lambda length: "mask", "your result is a str; it should be a tensor of shape (1, 1)."),
        (lambda length: torch.ones(length, length + 1).bool(), "your result has shape (1, 2); it should have (1, 1)."),
        (
            lambda length: torch.ones(length, length).tril(),
            "your result contains floating-point numbers; it should contain truth values (bool).",
        ),
        (lambda length: torch.ones(length).int() / 0 * 0 + torch.zeros(1, 1), "your result contains floating-point"),
    ],
)
def test_an_unusable_result_is_named_in_one_sentence(answer, sentence):
    verdict = examine("attention.causal_mask", answer)
    assert verdict.kind == "unusable"
    assert verdict.message.startswith(f"attention.causal_mask: {sentence}")
    assert "length = 1" in verdict.message


def test_nan_is_named_with_its_position():
    verdict = examine("block.gelu", lambda x: torch.cat([x[:-1], x[-1:] * torch.nan]))
    assert verdict.message.startswith("block.gelu: your result[2] is NaN (not a number).")
    assert examine("gpt.init_std", lambda name, num_layers: math.nan).message.startswith(
        "gpt.init_std: your result is NaN"
    )


def test_a_wrong_answer_gets_the_first_failing_case():
    verdict = examine("attention.causal_mask", lambda length: torch.ones(length, length).triu().bool())
    assert verdict.kind == "wrong"
    assert verdict.message.splitlines() == [
        "attention.causal_mask: not right yet. It is upside down: row t attends to itself and to what comes later. "
        "Take the lower triangle, tril.",
        "Case 2 of 6:",
        "  length = 2",
        "  expected: tensor (2, 2) [[True, False], [True, True]]",
        "  got: tensor (2, 2) [[True, True], [False, True]]",
        "  first difference: result[0, 1]",
    ]


def test_an_answer_that_raises_gets_its_own_error_and_line():
    def own_step(x):
        return x @ x  # the shapes do not fit

    def answer(x):
        return own_step(x)

    verdict = examine("attention.merge_heads", answer)
    assert verdict.kind == "raised"
    first, second = verdict.message.splitlines()[:2]
    assert first.startswith("attention.merge_heads: your code raised RuntimeError: Expected size")
    assert second == f"  in line {inspect.getsourcelines(own_step)[1] + 1}: return x @ x  # the shapes do not fit"


def test_the_line_of_a_decorated_answer_is_shown_and_a_call_that_fails_has_none():
    @torch.no_grad()
    def answer(x):
        return x @ x

    assert examine("attention.merge_heads", answer).message.splitlines()[1].endswith(": return x @ x")
    assert examine("attention.merge_heads", lambda: 1).message.splitlines()[1].startswith("Case 1 of ")
    assert "\nCase 1 of " in examine("attention.merge_heads", len).message


def test_a_long_error_is_shortened():
    def answer(length):
        raise ValueError("much too long " * 1000)

    assert len(examine("attention.causal_mask", answer).message) < 500


def test_torchs_own_not_implemented_is_an_attempt():
    verdict = examine("attention.attention_weights", lambda scores, mask: mask.softmax(dim=-1))
    assert verdict.kind == "raised"
    assert "NotImplementedError" in verdict.message


def test_an_answer_that_stops_at_a_later_case_is_an_attempt():
    def answer(length):
        if length > 1:
            raise NotImplementedError
        return torch.ones(1, 1).bool()

    assert examine("attention.causal_mask", answer).kind == "raised"


def test_a_changed_argument_is_named_and_no_case_is_touched():
    def answer(x, num_heads):
        B, T, _ = x.shape
        result = x.clone().view(B, T, num_heads, -1).transpose(1, 2)
        x.zero_()
        return result

    verdict = examine("attention.split_heads", answer)
    assert "your function changes its argument `x`" in verdict.message
    assert examine("tokenization.decode", lambda ids, tokens: tokens.clear()).kind == "unusable"
    assert examine("tokenization.decode", tokenization.decode).kind == "correct"


def test_cases_are_new_each_time_and_leave_the_random_state_alone():
    seen = []

    def answer(x):
        seen.append(x)
        if seeds:
            torch.manual_seed(1)
            random.seed(1)
            np.random.seed(1)
        return attention.causal_average(x)

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    seeds = False
    assert examine("attention.causal_average", answer).kind == "correct"
    seeds = True
    assert "seeds" in examine("attention.causal_average", answer).message
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    assert not torch.equal(seen[0], seen[-5])  # the second time stops before any variant


def test_cases_come_again_in_other_forms_that_a_right_answer_of_any_style_passes():
    def flat(x, num_heads):
        return x.view(-1).view(*x.shape[:2], num_heads, -1).transpose(1, 2)

    def narrow(x, weight, eps=1e-5):
        return torch.nn.functional.rms_norm(x.float(), x.shape[-1:], weight.float(), eps)

    def mixed(x):
        mask = (torch.arange(len(x))[:, None] >= torch.arange(len(x))).float()
        return mask / mask.sum(1, keepdim=True) @ x

    assert "not contiguous, as after a transpose" in examine("attention.split_heads", flat).message
    assert "in float64: your result is in torch.float32" in examine("modern.rms_norm", narrow).message
    assert examine("attention.causal_average", mixed).kind == "correct"


def test_a_result_that_a_later_call_changes_is_refused():
    shared: list[int] = []

    def merged(ids, pair, new_id):
        shared[:] = tokenization.merge(ids, pair, new_id)
        return shared

    assert "a later call changes the result of an earlier one" in examine("tokenization.merge", merged).message


def test_an_answer_that_never_ends_is_stopped_and_said_so(monkeypatch):
    monkeypatch.setattr("tinyllm.course.checking.trials.SECONDS", 0.3)

    def answer(ids, pair, new_id):
        while True:
            pass

    verdict = examine("tokenization.merge", answer)
    assert verdict.kind == "timed out"
    assert "did not end within 0.3 seconds" in verdict.message


def test_a_warning_of_a_variation_is_not_shown_to_the_learner(monkeypatch, recwarn):
    monkeypatch.setattr(judging, "_found", lambda *_: warnings.warn("of a variation", stacklevel=1) or "")
    assert examine("block.gelu", lambda x: x + 0.12345).kind == "wrong"
    assert not recwarn.list


def mask_and_print(length, wrong_from):
    print(f"length is {length}")
    mask = torch.ones(length, length).bool()
    return mask if length >= wrong_from else mask.tril()


def test_what_a_function_prints_is_shown_once_of_the_case_that_is_shown(capsys):
    check("attention.causal_mask", lambda length: mask_and_print(length, 3))
    printed = capsys.readouterr().out
    assert "Case 3 of" in printed
    assert re.findall("length is .*", printed) == ["length is 3"]
    assert "\n  printed:\n    length is 3\n" in printed
    check("attention.causal_mask", lambda length: mask_and_print(length, 999))
    assert capsys.readouterr().out.splitlines() == [
        "attention.causal_mask: correct, on 6 cases drawn just now.",
        "In case 1 it printed:",
        "    length is 1",
    ]


def test_what_an_exercise_calls_twenty_times_is_heard_once_and_a_flood_is_cut(capsys):
    def dropout(x, p, training):
        print("called")
        return x

    def flood(length):
        print(*range(10**5), sep="\n")
        raise ValueError

    check("block.dropout", dropout)
    assert capsys.readouterr().out.count("called") == 1
    check("attention.causal_mask", flood)
    assert len(capsys.readouterr().out) < 800


@pytest.mark.parametrize("name", ["tokenization.merge", "scaling.intensity", "modern.rotate"])
def test_a_wrong_answer_is_called_once_a_case(name, monkeypatch):
    """Also where nothing is known of it, so that all is tried to name its mistake. Chance may draw a case twice."""
    exercise, drawn, seen = find_exercise(name), [], []

    def cases():
        drawn.extend(found := exercise.cases())
        return found

    def wrong(*arguments):
        seen.append(arguments)
        result = exercise.reference(*arguments)
        if isinstance(result, list):
            return [3 * one + index**2 for index, one in enumerate(result)]
        return (3 * torch.as_tensor(result)).sin() + 0.123

    def with_changed_arguments(*arguments):
        count = len(seen)
        found = unused_argument(*arguments)
        del seen[count:]  # which are no cases
        return found

    def counted(calls):
        return Counter(repr([one.tolist() if isinstance(one, torch.Tensor) else one for one in call]) for call in calls)

    monkeypatch.setitem(EXERCISES, name, replace(exercise, cases=cases))
    monkeypatch.setattr(judging, "unused_argument", with_changed_arguments)
    assert examine(name, wrong).kind == "wrong"
    assert len(drawn) > len(exercise.cases())  # of two draws
    assert counted(seen) == counted(drawn)


def test_all_calls_together_have_an_end(monkeypatch):
    monkeypatch.setattr("tinyllm.course.checking.trials.WHOLE", 0.3)

    def slow(length):
        time.sleep(0.12)
        return attention.causal_mask(length)

    verdict = examine("attention.causal_mask", slow)
    assert verdict.kind == "timed out"
    assert "right in 3 of 6 cases" in verdict.message
    began = time.monotonic()
    verdict = examine("attention.causal_mask", lambda length: ~slow(length))
    assert verdict.kind == "wrong"
    assert time.monotonic() - began < 8


def test_a_slow_answer_that_is_right_in_all_cases_is_right(monkeypatch):
    monkeypatch.setattr("tinyllm.course.checking.trials.WHOLE", 0.5)

    def slow(length):
        time.sleep(0.07)
        return attention.causal_mask(length)

    assert examine("attention.causal_mask", slow).kind == "correct"


def test_what_chance_spared_in_the_first_cases_is_not_called_forgetful(monkeypatch):
    draws = iter([[(1,), (2,)], [(3,), (2,), (1,)], [(2,), (1,)]])
    exercise = find_exercise("attention.causal_mask")
    monkeypatch.setitem(EXERCISES, "attention.causal_mask", replace(exercise, cases=lambda: next(draws)))
    verdict = examine("attention.causal_mask", lambda length: mask_and_print(length, 3))
    assert "right at first" not in verdict.message
    assert "Case 3 of 7" in verdict.message
