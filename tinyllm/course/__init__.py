"""The course built on the package: exercises, rungs of the ladder, the bug clinic, scaling laws and widgets.

Notebooks import these five: `check` judges an answer and names the mistake, `hint` and `solution` help, `progress`
draws what is solved, and `predict` compares a guess with what is measured on this machine. Nothing outside this room
imports it.
"""

from tinyllm.course.checking.learner import check, hint, solution
from tinyllm.course.checking.predictions import predict
from tinyllm.course.checking.progress import progress

__all__ = ["check", "hint", "predict", "progress", "solution"]
