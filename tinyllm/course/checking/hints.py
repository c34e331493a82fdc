"""What can be said of a wrong answer whose mistake has no name."""

from tinyllm.course.checking.diagnosis import Judged
from tinyllm.course.checking.registry import Exercise


def advice(exercise: Exercise, judged: list[Judged]) -> str:
    return ""
