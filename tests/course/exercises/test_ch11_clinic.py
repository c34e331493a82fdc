"""Each reference of notebook 11 beside an independent one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tinyllm.course.clinic
import tinyllm.course.interpretability
from tinyllm.course.checking.judging import examine
from tinyllm.course.exercises import ch11_clinic as clinic


def test_every_patient_of_the_clinic_is_named():
    wards = (clinic.too_good, clinic.hardly_learns, clinic.looks_healthy, clinic.odd_numbers)
    named = [
        ward(patient) for ward, first in zip(wards, (1, 4, 7, 10), strict=True) for patient in range(first, first + 3)
    ]
    assert named == list(tinyllm.course.clinic.BUGS) == list(clinic.SUSPECTS)


def test_a_wrong_name_is_answered_with_what_it_would_show_and_not_with_the_right_one():
    verdict = examine("clinic.too_good", lambda patient: "no zero_grad")
    assert verdict.message.startswith(
        f"clinic.too_good: patient 1 has no 'no zero_grad': {clinic.SUSPECTS['no zero_grad']}"
    )
    assert "leaky mask" not in verdict.message


def test_one_step_is_a_step_of_sgd():
    weights, batches = clinic._step_case()
    expected = torch.tensor(weights, requires_grad=True)
    for x, targets in batches:
        (gradient,) = torch.autograd.grad(F.cross_entropy(x @ expected.T, targets), expected)
        expected = (expected - 0.1 * gradient).detach().requires_grad_()
    torch.testing.assert_close(clinic._weights_after(clinic.one_step, weights, batches), expected.detach())


def test_mean_loss_is_that_of_all_tokens_together():
    (losses,) = clinic._losses_case()
    assert clinic.mean_loss(losses) == pytest.approx(np.mean(np.concatenate(losses)))
