"""What holds for all exercises: references are right, stubs and nonsense are not, mistakes and mutants are found."""

import inspect
import itertools
import math
import re
import sys
from collections import Counter

import pytest
import torch
from answers import stub
from mutation import mutants

from tinyllm import course
from tinyllm.course import check, solution
from tinyllm.course.checking import judging, trials
from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.registry import CHAPTERS, EXERCISES, load_chapters

load_chapters()
NAMES = sorted(EXERCISES)


SENTENCE_LIMIT = 200  # characters of a verdict's first line


def test_each_chapter_has_its_exercises():
    counts = Counter(name.partition(".")[0] for name in EXERCISES)
    assert [counts[chapter] for chapter in CHAPTERS] == [4, 8, 8, 6, 6, 7, 7, 2, 8, 8, 12, 8, 8, 8, 6]
    assert course.__all__ == ["check", "hint", "predict", "progress", "solution"]


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_correct_each_time(name, tries):
    for _ in range(tries):
        verdict = examine(name, EXERCISES[name].reference)
        assert verdict.kind == "correct", verdict.message
    count = len(EXERCISES[name].cases())
    assert count >= 3
    assert verdict.message == f"{name}: correct, on {count} cases drawn just now."


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("clinic.")])
def test_every_argument_varies_so_that_no_constant_can_take_its_place(name):
    parameters = inspect.signature(EXERCISES[name].reference).parameters
    cases = EXERCISES[name].cases()
    constant = set()
    columns = {
        argument: [case[index] if index < len(case) else parameter.default for case in cases]
        for index, (argument, parameter) in enumerate(parameters.items())
    }
    for argument, values in columns.items():
        if isinstance(values[0], int | float | list | tuple | str) and len(set(map(repr, values))) == 1:
            constant.add(argument)
    floats = {argument: values for argument, values in columns.items() if all(type(one) is float for one in values)}
    for (one, values), (other, others) in itertools.combinations(floats.items(), 2):
        if {one, other} & constant or 0 in others:
            continue
        if len({round(a / b, 9) for a, b in zip(values, others, strict=True)}) == 1:
            constant.add(f"{one} / {other}")
    if name == "backprop.Scalar":
        constant -= {"inputs"}  # a number that is made and not computed has none
    assert not constant


@pytest.mark.parametrize("name", NAMES)
def test_an_untouched_stub_is_not_attempted(name, capsys):
    assert check(name, stub) is EXERCISES[name].reference
    expected = f"{name}: not attempted yet. Replace `raise NotImplementedError` with your answer."
    assert capsys.readouterr().out.replace("\n", " ").startswith(f"{expected} Until then")


NONSENSE = {
    "None": lambda *arguments: None,
    "a string": lambda *arguments: "forty-two",
    "a float": lambda *arguments: -1.5,
    "NaN": lambda *arguments: math.nan,
    "a tensor of NaN": lambda *arguments: torch.full((2, 2), torch.nan),
    "a tensor of nothing": lambda *arguments: torch.empty(0),
    "a tensor that cannot be compared": lambda *arguments: torch.empty(2, 2, device="meta"),
    "a sparse tensor": lambda *arguments: torch.eye(2).to_sparse(),
    "a generator": lambda *arguments: (number for number in range(3)),
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
def test_no_nonsense_is_correct_or_raises(name, request, capsys):
    """Each exercise meets one kind of it, the next one another; with --slow, all."""
    kinds = list(NONSENSE.items())
    some = kinds if request.config.getoption("--slow") else [kinds[NAMES.index(name) % len(kinds)]]
    for belief, answer in some:
        verdict = examine(name, answer)
        assert verdict.kind in ("wrong", "raised", "unusable"), belief
        sentence = verdict.message.partition("\n")[0]
        assert sentence.startswith(f"{name}: ")
        assert len(sentence) < SENTENCE_LIMIT + len(name), sentence
        assert len(verdict.message) < 3000, belief


@pytest.fixture
def tries(request) -> int:
    """How often an answer is judged, each time in cases drawn anew."""
    return 10 if request.config.getoption("--slow") else 1


KNOWN = [(name, index) for name in NAMES for index in range(len(EXERCISES[name].mistakes))]


# Mutants that are no wrong answers: equal in behaviour, or right too. {(exercise, change): why}
EQUIVALENT: dict[tuple[str, str], str] = {
    ("attention.scores", "line 3: -2 -> 2"): "the same of four dimensions",
    ("attention.mend_window", "line 5: -2 -> 2"): "the same of four dimensions",
    **{
        (name, f"line 3: {count} -> {other}"): "one draw more or less"
        for name, count in (("attention.measure_spread", 5000), ("block.measure_scatter", 20000))
        for other in (count - 1, count + 1)
    },
    ("block.mend_stack", "line 6: True -> False"): "there are as many norms as layers",
    ("data.measure_steps", "line 9: loss < goal -> loss <= goal"): "a loss never is exactly the goal",
    **{
        ("data.measure_steps", f"line {line}: 200 -> {limit}"): "a step more or less counts as right"
        for line in (7, 14)
        for limit in (199, 201)
    },
    ("block.dropout", "line 8: torch.rand_like(x) >= p -> torch.rand_like(x) > p"): "a draw never is exactly p",
    ("training.accumulate", "line 10: loss.item() -> loss"): "a tensor of one number is a number",
    ("training.mend_loop", "line 10: True -> False"): "there is a rate for each batch",
    ("training.mend_loop", "line 18: loss.item() -> loss"): "a tensor of one number is a number",
    ("training.learning_rate", "line 6: iteration < warmup -> iteration <= warmup"): "both lines meet at the peak",
    ("sampling.temperature", "line 5: 0 -> -1"): "the only dimension",
    ("sampling.mend_choose", "line 14: 0 -> -1"): "the only dimension",
    ("sampling.top_p", "line 3: True -> False"): "equal ones are kept together or cut together",
    ("sampling.top_p", "line 4: 0 -> -1"): "the only dimension",
    ("sampling.top_p", "line 5: 0 -> -1"): "the only dimension",
    ("sampling.top_p", "line 6: before < p -> before <= p"): "a sum never is exactly p",
    ("sampling.cached_step", "line 18: 0 -> -1"): "the only dimension",
    ("modern.rotate", "line 7: -1 -> 1"): "the last of two dimensions",
    ("inside.lens", "line 5: -1 -> 1"): "the last of two dimensions",
    ("inside.attribution", "line 8: -1 -> 1"): "the last of two dimensions",
    ("inside.mend_streams", "line 4: 0 -> -1"): "a block has one input",
    (
        "clinic.mend_evaluation",
        "line 11: F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction='sum').item() -> "
        "F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction='sum')",
    ): "a tensor without dimensions is a number",
    (
        "backprop.stuck_rows",
        "line 5: passed.norm(dim=1) < 0.01 -> passed.norm(dim=1) <= 0.01",
    ): "a length never is exactly the limit",
    ("backprop.mend_attention", "line 9: -1 -> 1"): "the last of two dimensions",
    (
        "clinic.loss_at",
        "line 6: F.cross_entropy(logits.flatten(0, 1), ids[:, ahead:].flatten()).item() -> "
        "F.cross_entropy(logits.flatten(0, 1), ids[:, ahead:].flatten())",
    ): "a tensor without dimensions is a number",
    (
        "clinic.moved",
        "line 8: change[:, :t].abs().max().item() -> change[:, :t].abs().max()",
    ): "a tensor without dimensions is a number",
    ("finetuning.mend_masked_step", "line 11: loss.item() -> loss"): "a tensor of one number is a number",
    **{
        ("reinforcement.measure_baseline", f"line 7: 50000 -> {count}"): "one draw more or less"
        for count in (49999, 50001)
    },
    **{
        (f"reinforcement.{name}", change): "the only dimension"
        for name, change in (
            ("score_function_gradient", "line 8: 0 -> -1"),
            ("best_policy", "line 5: 0 -> -1"),
            ("measure_baseline", "line 6: 0 -> -1"),
        )
    },
    ("modern.stable_decay", "line 7: iteration < warmup -> iteration <= warmup"): "the line ends where the rest begins",
}


@pytest.mark.parametrize(("name", "index"), KNOWN)
def test_a_known_mistake_gets_its_own_diagnosis(name, index, tries):
    function, diagnosis = EXERCISES[name].mistakes[index]
    for _ in range(tries):
        verdict = examine(name, function)
        assert verdict.kind in ("wrong", "unusable", "raised"), verdict.message
        assert verdict.diagnosis == diagnosis
        assert diagnosis in verdict.message
        assert len(verdict.message) < 3000


FORMS = [(name, index) for name in NAMES for index in range(len(EXERCISES[name].forms))]


@pytest.mark.parametrize(("name", "index"), FORMS)
def test_a_right_answer_in_other_words_is_right(name, index, tries):
    form = EXERCISES[name].forms[index]
    assert [*inspect.signature(form).parameters] == [*inspect.signature(EXERCISES[name].reference).parameters]
    for _ in range(tries):
        verdict = examine(name, form)
        assert verdict.kind == "correct", verdict.message


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


def survives(name: str, change: str, mutant) -> bool:
    """Whether the grader takes a mutant for right: five times in a row, or once where it is right."""
    times = 1 if (name, change) in EQUIVALENT else 5
    return all(examine(name, mutant).kind == "correct" for _ in range(times))


@pytest.fixture
def impatient(monkeypatch):
    """A mutant's loop may have lost its way out, and nobody reads what is wrong with it: half of the time."""
    monkeypatch.setattr(trials, "SECONDS", 2.0)
    monkeypatch.setattr(judging, "_wrong", lambda *_: judging.Verdict("wrong", ""))


@pytest.mark.parametrize("name", NAMES)
def test_mutants_of_the_reference_are_found(name, impatient):
    """All of them, but for those that are as right as it is."""
    changes = dict(mutants(EXERCISES[name].reference))
    assert changes
    left = {(name, change) for change, mutant in changes.items() if survives(name, change, mutant)}
    assert left == {key for key in EQUIVALENT if key[0] == name}


def test_what_is_listed_as_right_is_a_mutant():
    """So that of each reference all other mutants are found, which is more than nineteen in twenty."""
    found = {(name, change) for name in NAMES for change, _ in mutants(EXERCISES[name].reference)}
    assert EQUIVALENT.keys() <= found


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_is_code_that_solves_it_and_says_why(name, capsys):
    solution(name, now=True)
    code, _, why = capsys.readouterr().out.rpartition("\n\nWhy: ")
    assert why.split() == EXERCISES[name].why.split()
    assert "@" not in code.split("\n")[0]
    names = dict(vars(sys.modules[EXERCISES[name].reference.__module__]))
    exec(code, names)
    assert examine(name, names[name.partition(".")[2]]).kind == "correct"
