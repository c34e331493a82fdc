"""Exercises and their mistakes are registered, and found by name, a chapter at a time."""

import importlib
import sys

import pytest
from answers import stub

import tinyllm.course.exercises
from tinyllm.course import check
from tinyllm.course.checking import registry
from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.registry import call, exercise, find_exercise, form, load_chapters, mistake, source_of


@pytest.mark.parametrize("name", ["attention.casual_mask", "atention.causal_mask", "causal_mask"])
def test_an_unknown_name_is_an_error_with_near_names(name):
    with pytest.raises(ValueError, match=r"did you mean .*attention\.causal_mask"):
        check(name, stub)


@pytest.fixture
def nothing_imported(monkeypatch):
    load_chapters()
    monkeypatch.setattr(registry, "EXERCISES", {})
    for name in [name for name in vars(tinyllm.course.exercises) if name.startswith("ch")]:
        # put back afterwards
        monkeypatch.setattr(tinyllm.course.exercises, name, getattr(tinyllm.course.exercises, name))
        monkeypatch.delitem(sys.modules, f"tinyllm.course.exercises.{name}")


def test_only_the_chapter_that_is_asked_for_is_imported(nothing_imported):
    assert examine("attention.causal_mask", stub).kind == "not attempted"
    assert {name.partition(".")[0] for name in registry.EXERCISES} == {"attention"}


def test_an_unknown_chapter_is_compared_with_all(nothing_imported):
    with pytest.raises(ValueError, match=r"did you mean attention\.causal_mask"):
        check("atention.causal_mask", stub)


def test_any_other_name_is_an_error_too():
    with pytest.raises(ValueError, match="unknown exercise"):
        check(stub, "attention.causal_mask")


def test_an_exercise_comes_with_its_mistakes(nothing_imported):
    importlib.import_module("tinyllm.course.exercises.ch03_attention")  # as a prediction imports it

    assert not registry.EXERCISES["attention.causal_mask"].mistakes
    assert len(find_exercise("attention.causal_mask").mistakes) == 5


def test_a_mistake_is_a_lambda_or_a_decorated_function_and_stays_in_order(monkeypatch):
    monkeypatch.setattr(registry, "EXERCISES", {})

    def double(x: int) -> int:
        return 2 * x

    double.__module__ = "tinyllm.course.exercises.ch99_numbers"

    decorate = exercise(cases=lambda: [(1,), (2,)], hint="Twice?", why="It is.")
    assert decorate(double) is double
    mistake(double, "You triple it.", lambda x: 3 * x)

    @mistake(double, "You square it.")
    def square(x):
        return x**2

    found = registry.EXERCISES["numbers.double"]
    assert (found.reference, found.observe, found.hint, found.why) == (double, call, "Twice?", "It is.")
    assert [(function(5), diagnosis) for function, diagnosis in found.mistakes] == [
        (15, "You triple it."),
        (25, "You square it."),
    ]
    assert found.mistakes[1][0] is square

    @form(double)
    def added(x):
        return x + x

    assert found.forms == [added]


def test_a_references_source_begins_with_its_def():
    source = source_of(find_exercise("attention.causal_mask").reference)
    assert source.startswith("def causal_mask(")
    assert source.endswith(".tril()")


def test_an_observe_that_hands_its_arguments_on_keeps_their_names():
    assert [*find_exercise("backprop.matmul_backward").case_parameters] == ["grad", "a", "b"]
    assert [*find_exercise("attention.causal_mask").case_parameters] == ["length"]
