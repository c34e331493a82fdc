"""The patients by number. That the right probe finds each bug is for the probes' tests."""

import dataclasses

import pytest

from tinyllm.course import clinic
from tinyllm.course.clinic.small_text import two_pieces


def test_patients_go_by_number_from_one():
    assert [clinic.patient(number) for number in range(1, 13)] == list(clinic.BUGS.values())
    for number in (0, 13, -1, 1.5, "one"):
        with pytest.raises(ValueError, match=f"there are patients 1 to 12, not {number!r}"):
            clinic.patient(number)
        with pytest.raises(ValueError, match="patients 1 to 12"):
            clinic.healed(number)


def test_a_complaint_does_not_name_the_bug():
    complaints = {name: training.complaint for name, training in clinic.BUGS.items()}
    assert len(set(complaints.values())) == 12
    assert not any(name in complaint.lower() for name, complaint in complaints.items())


@pytest.mark.parametrize("number", range(1, 13))
def test_a_patient_differs_from_the_healthy_training_in_one_piece_but_for_how_it_batches(number):
    pieces = {field.name for field in dataclasses.fields(clinic.Training)} - {"complaint"}
    patient = clinic.patient(number)
    changed = {piece for piece in pieces if getattr(patient, piece) != getattr(clinic.HEALTHY, piece)}
    assert len(changed - ({"batches"} if patient.batches is two_pieces else set())) == 1


def test_healed_is_the_healthy_training_where_the_text_allows_it():
    healthy = [number for number in range(1, 13) if clinic.healed(number) == clinic.HEALTHY]
    assert healthy == [1, 2, 4, 5, 6, 7, 8, 9, 11, 12]
    assert clinic.healed(10).batches is two_pieces
    train, held_out = clinic.healed(3).split()
    assert not set(train) & set(held_out)
