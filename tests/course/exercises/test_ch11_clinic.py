"""Each reference of notebook 11 beside an independent one."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tinyllm.course.clinic
import tinyllm.course.interpretability
import tinyllm.probes.model_probes
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
    kind, lr, weights, batches = clinic._step_case(torch.optim.SGD, 4, 3, 2, 3)
    expected = torch.tensor([[*row, 0.0] for row in weights])  # the last column is the bias
    for x, targets in batches:
        expected.requires_grad_()
        logits = F.linear(x, expected[:, :-1], expected[:, -1])
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, targets), expected)
        expected = (expected - lr * gradient).detach()
    observed = clinic._weights_after(clinic.one_step, kind, lr, weights, batches)
    torch.testing.assert_close(observed.value, expected)


def test_mean_loss_is_that_of_all_tokens_together():
    (losses,) = clinic._losses_case(3)
    assert clinic.mean_loss(losses) == pytest.approx(np.mean(np.concatenate(losses)))


@pytest.mark.parametrize("training", [True, False])
def test_the_mended_evaluation_is_the_clinics_own(training):
    record = tinyllm.course.clinic.HEALTHY
    model, _ = record.build()
    model.train(training)
    _, held_out = record.split()
    batches = record.batches([tinyllm.course.clinic.small_text.rows()[article] for article in held_out])
    assert clinic.mend_evaluation(model, batches) == pytest.approx(record.held_out_loss(model))
    assert model.training == training


@pytest.mark.parametrize(("copies", "held_out"), [(2, 0.1), (3, 0.5), (1, 0.2)])
def test_leaked_share_is_what_a_shuffle_leaks(copies, held_out):
    collection = list(range(4000)) * copies
    random.shuffle(collection)
    cut = round(held_out * len(collection))
    trained = set(collection[cut:])
    measured = sum(article in trained for article in collection[:cut]) / cut
    assert clinic.leaked_share(copies, held_out) == pytest.approx(measured, abs=0.02)


def test_each_suspect_has_its_probe_and_each_probe_its_suspect():
    assert sorted(map(clinic.probe_for, clinic.SUSPECTS)) == sorted(clinic.PROBES)
    verdict = examine("clinic.probe_for", lambda suspect: "average")
    assert "'average' does not show 'leaky mask': it measures " + clinic.PROBES["average"] in verdict.message


@pytest.mark.parametrize("number", [0, 1])
def test_moved_and_loss_at_agree_with_the_packages_probes(number):
    """The healthy model is causal, patient 1's is not."""
    training = tinyllm.course.clinic.patient(number) if number else tinyllm.course.clinic.HEALTHY
    model, _ = training.build()
    ids = training.batch(0)[0][0][:, :50]
    finding = tinyllm.probes.model_probes.causality(model, ids)
    assert (clinic.moved(model, ids, 20, 7) < 1e-3) == finding.ok == (number == 0)
    by_offset = tinyllm.probes.model_probes._losses_by_offset(model.eval()(ids[:, :]), ids[:, :])
    assert clinic.loss_at(model, ids, 2) == pytest.approx(by_offset[2].item(), abs=1e-5)


def test_the_first_broken_module_is_the_one_that_was_broken():
    model, _ = tinyllm.course.clinic.HEALTHY.build()
    ids = torch.arange(9)[None]
    assert clinic.first_broken(model, ids) is None
    model.blocks[1].feedforward[0].weight.data[3, 5] = torch.inf
    assert clinic.first_broken(model, ids) == "blocks.1.feedforward.0"
    model.blocks[0].attention.scale = lambda head_dim: 0.0
    assert clinic.first_broken(model, ids) == "blocks.0.attention"  # not its projection, which passes it on
