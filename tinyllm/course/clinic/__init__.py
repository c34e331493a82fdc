"""The bug clinic: small trainings on TinyWiki, each with one real bug, for chapter 11.

The trainings are written as they are found in other people's notebooks: a model, a step and a batch that fit on one
screen each. `HEALTHY` is right; every patient replaces one piece of it. Patients have numbers, so that a notebook can
show one without naming what is wrong: `lines` prints the lines that its bug is among, `cure` the difference. To find
out for yourself, do not read the module `patients`.
"""

from tinyllm.course.clinic.healthy import HEALTHY, Record, Training, sample
from tinyllm.course.clinic.listing import cure, lines
from tinyllm.course.clinic.patients import BUGS, healed, patient
from tinyllm.course.clinic.small_gpt import VOCABULARY, stepwise

__all__ = [
    "BUGS", "HEALTHY", "VOCABULARY", "Record", "Training", "cure", "healed", "lines", "patient", "sample", "stepwise",
]  # fmt: skip
