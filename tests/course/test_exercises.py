"""What holds for all exercises: references are right, stubs and nonsense are not, mistakes and mutants are found."""

import math
import re
import signal
import sys
from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from answers import stub
from mutation import mutants

from tinyllm import course
from tinyllm.course import check, solution
from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.registry import CHAPTERS, EXERCISES, load_chapters

load_chapters()
NAMES = sorted(EXERCISES)


SENTENCE_LIMIT = 200  # characters of a verdict's first line


def test_each_chapter_has_its_exercises():
    counts = Counter(name.partition(".")[0] for name in EXERCISES)
    assert [counts[chapter] for chapter in CHAPTERS] == [4, 6, 6, 4, 4, 5, 5, 2, 6, 4, 6, 5]
    assert course.__all__ == ["check", "hint", "predict", "progress", "solution"]


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_correct_each_time(name):
    for _ in range(5):
        verdict = examine(name, EXERCISES[name].reference)
        assert verdict.kind == "correct", verdict.message
    count = len(EXERCISES[name].cases())
    assert count >= 3
    assert verdict.message == f"{name}: correct, on {count} cases drawn just now."


@pytest.mark.parametrize("name", NAMES)
def test_an_untouched_stub_is_not_attempted(name, capsys):
    assert check(name, stub) is None
    expected = f"{name}: not attempted yet. Replace `raise NotImplementedError` with your answer.\n"
    assert capsys.readouterr().out == expected


NONSENSE = {
    "None": lambda *arguments: None,
    "a string": lambda *arguments: "forty-two",
    "a float": lambda *arguments: -1.5,
    "NaN": lambda *arguments: math.nan,
    "a tensor of NaN": lambda *arguments: torch.full((2, 2), torch.nan),
    "a tensor of nothing": lambda *arguments: torch.empty(0),
    "a tensor that cannot be compared": lambda *arguments: torch.empty(2, 2, device="meta"),
    "an empty list": lambda *arguments: [],
    "a list of itself": lambda *arguments: endless,
    "a tuple of None": lambda *arguments: (None, None),
    "a function": lambda *arguments: print,
    "a type": lambda *arguments: list,
    "no arguments": lambda: 1,
    "the program's end": lambda *arguments: exit(),
    "endless recursion": lambda *arguments: NONSENSE["endless recursion"](*arguments),
}


endless = []


endless.append(endless)


@pytest.mark.parametrize("name", NAMES)
def test_no_nonsense_is_correct_or_raises(name, capsys):
    for belief, answer in NONSENSE.items():
        if belief == "None" and name == "training.accumulate":
            continue  # that is what it returns
        verdict = examine(name, answer)
        assert verdict.kind in ("wrong", "raised", "unusable"), belief
        sentence = verdict.message.partition("\n")[0]
        assert sentence.startswith(f"{name}: ")
        assert len(sentence) < SENTENCE_LIMIT + len(name), sentence
        assert len(verdict.message) < 3000, belief


KNOWN = [(name, index) for name in NAMES for index in range(len(EXERCISES[name].mistakes))]


# Mutants that no test can tell from the reference, or that are right too: {(exercise, change): why}.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("data.split_articles", "line 3: articles.copy() -> articles"): "shuffling the learner's own copy harms nobody",
    ("attention.scores", "line 3: -2 -> 2"): "the same of four dimensions",
    ("block.dropout", "line 8: torch.rand_like(x) >= p -> torch.rand_like(x) > p"): "a draw never is exactly p",
    ("training.learning_rate", "line 6: iteration < warmup -> iteration <= warmup"): "both lines meet at the peak",
    ("sampling.temperature", "line 5: 0 -> -1"): "the only dimension",
    ("sampling.top_p", "line 4: 0 -> -1"): "the only dimension",
    ("sampling.top_p", "line 5: 0 -> -1"): "the only dimension",
    ("sampling.top_p", "line 6: before < p -> before <= p"): "a sum never is exactly p",
    ("sampling.cached_step", "line 18: 0 -> -1"): "the only dimension",
    ("modern.rotate", "line 7: -1 -> 1"): "the last of two dimensions",
    ("inside.lens", "line 5: -1 -> 1"): "the last of two dimensions",
    ("modern.stable_decay", "line 7: iteration < warmup -> iteration <= warmup"): "the line ends where the rest begins",
}


@pytest.mark.parametrize(("name", "index"), KNOWN)
def test_a_known_mistake_gets_its_own_diagnosis(name, index):
    function, diagnosis = EXERCISES[name].mistakes[index]
    for _ in range(5):
        verdict = examine(name, function)
        assert verdict.kind in ("wrong", "unusable", "raised"), verdict.message
        assert verdict.diagnosis == diagnosis
        assert diagnosis in verdict.message
        assert len(verdict.message) < 3000


@pytest.mark.parametrize("name", NAMES)
def test_each_exercise_knows_mistakes_and_has_help(name):
    exercise = EXERCISES[name]
    assert len(exercise.mistakes) >= 2
    diagnoses = [diagnosis for _, diagnosis in exercise.mistakes]
    assert len(set(diagnoses)) == len(diagnoses)
    for text in (exercise.hint, exercise.why, *diagnoses):
        assert 20 < len(text) < 300
        assert text.endswith((".", "?"))
        assert not re.search(r"\b(simply|obviously|just)\b", text)


class Endless(BaseException):
    """Not an Exception: the grader would take that for the answer's own."""


@contextmanager
def time_limit(seconds: float):
    """An answer that never ends is stopped: a mutant's loop may have lost its way out.

    Again and again, as an exception raised while memory is collected, in someone's callback, goes nowhere.
    """

    def stop(*_):
        raise Endless

    before = signal.signal(signal.SIGALRM, stop)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)  # pytest's own limit
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)


def survives(name: str, mutant) -> bool:
    """Whether the grader takes a mutant for right, five times in a row."""
    for _ in range(5):
        try:
            with time_limit(2):
                if examine(name, mutant).kind != "correct":
                    return False
        except Endless:
            return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_mutants_of_the_reference_are_found(name):
    changes = dict(mutants(EXERCISES[name].reference))
    assert changes
    left = {(name, change) for change, mutant in changes.items() if survives(name, mutant)}
    assert left == {key for key in EQUIVALENT if key[0] == name}


def test_at_least_nine_in_ten_mutants_are_found():
    count = sum(1 for name in NAMES for _ in mutants(EXERCISES[name].reference))
    assert len(EQUIVALENT) <= count / 10


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_is_code_that_solves_it_and_says_why(name, capsys):
    solution(name, now=True)
    code, _, why = capsys.readouterr().out.rpartition("\n\nWhy: ")
    assert why.strip() == EXERCISES[name].why
    assert "@" not in code.split("\n")[0]
    names = dict(vars(sys.modules[EXERCISES[name].reference.__module__]))
    exec(code, names)
    assert examine(name, names[name.partition(".")[2]]).kind == "correct"
