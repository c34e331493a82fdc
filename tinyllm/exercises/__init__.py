"""The course's exercises.

`check` judges an answer and names the mistake, `hint` and `solution` help, `progress` draws what is done, and
`predict` compares a guess with what is measured here.
"""

from tinyllm.exercises.checking import check, hint, solution
from tinyllm.exercises.overview import progress
from tinyllm.exercises.predictions import predict

__all__ = ["check", "hint", "predict", "progress", "solution"]
