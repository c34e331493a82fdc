"""The course's exercises: `check` judges an answer, `predict` compares a guess with what is measured here."""

from tinyllm.exercises.checking import check
from tinyllm.exercises.predictions import predict

__all__ = ["check", "predict"]
