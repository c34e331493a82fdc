"""What a learner calls on an exercise: `check`, `hint` and `solution`."""

from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.records import record, recorded
from tinyllm.course.checking.registry import Function, find_exercise, source_of
from tinyllm.course.checking.saying import say
from tinyllm.course.checking.verdicts import show_verdict


def check(name: str, answer: Function) -> Function:
    """Compare your function with the reference, on cases drawn just now, and show the verdict.

    Returns the function that the notebook goes on with: yours if it is right, otherwise the reference.
    Raises ValueError, with near names, for an unknown name.
    """
    verdict = examine(name, answer)
    record(name, verdict.kind, verdict.diagnosis)
    show_verdict(verdict)
    return answer if verdict.kind == "correct" else find_exercise(name).reference


def hint(name: str) -> None:
    """Print what to think of next. Raises ValueError, with near names, for an unknown name."""
    say(f"{name}: {find_exercise(name).hint}")


def solution(name: str, now: bool = False) -> None:
    """Print the reference and why it is done this way, after one attempt; with `now=True` without one.

    Raises ValueError, with near names, for an unknown name.
    """
    found = find_exercise(name)
    if not now and name not in recorded():
        say(f"{name}: try it once, and check it. Or see it at once with solution({name!r}, now=True).")
    else:
        print(source_of(found.reference), end="\n\n")
        say(f"Why: {found.why}")
