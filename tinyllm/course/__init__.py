"""The course's exercises.

`check` judges an answer and names the mistake, `hint` and `solution` help, `progress` draws what is done, and
`predict` compares a guess with what is measured here.
"""

from tinyllm.course.checking.checking import check, hint, solution
from tinyllm.course.checking.overview import progress
from tinyllm.course.checking.predictions import predict

__all__ = ["check", "hint", "predict", "progress", "solution"]
