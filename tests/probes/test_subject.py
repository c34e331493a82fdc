"""All probes on the clinic's patients: each bug is found by the right one, and healthy trainings are left alone."""

import dataclasses

import pytest
import torch

from tinyllm.course import clinic

# Each bug, the probes that must find it, and those that may: a leak can push the loss below the floor, and layers
# that no module lists are not reached by model.eval() either.
FOUND_BY = {
    "leaky mask": ({"causality"}, {"floor"}),
    "targets not shifted": ({"targets"}, {"floor"}),
    "leaking split": ({"leak"}, {"floor"}),
    "rate too high": ({"one batch"}, set()),
    "no zero_grad": ({"old gradients"}, {"one batch"}),
    "attention not scaled": ({"attention"}, set()),
    "frozen layers": ({"gradient flow"}, {"dropout"}),
    "head copied": ({"head"}, set()),
    "dropout at evaluation": ({"dropout"}, set()),
    "mean of means": ({"average"}, set()),
    "weights drawn too large": ({"first loss"}, set()),
    "wrong positions in the cache": ({"cache"}, set()),
}
STEPS = 60  # enough for a trained model; the chapter takes more


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("training", [clinic.HEALTHY, clinic.healed(10)], ids=["one piece", "two pieces"])
def test_a_healthy_training_is_left_alone(training, seed):
    found = training.train(STEPS, seed).diagnose()
    assert found.problems == []
    assert all(finding.ok for finding in found.findings), found


def test_every_bug_has_a_probe():
    assert list(FOUND_BY) == list(clinic.BUGS)
    assert clinic.patient(1) is clinic.BUGS["leaky mask"]
    with pytest.raises(ValueError, match="patients 1 to 12, not 13"):
        clinic.patient(13)


@pytest.mark.parametrize(("number", "bug"), list(enumerate(FOUND_BY, start=1)))
def test_a_bug_is_found_by_the_right_probe(number, bug):
    must, may = FOUND_BY[bug]
    found = clinic.patient(number).train(STEPS, seed=number).diagnose()
    assert must <= set(found.problems) <= must | may, found


@pytest.mark.parametrize("number", range(1, 13))
def test_a_patient_without_its_bug_is_healthy(number):
    """What `healed` gives back differs from the patient in one piece only."""
    ill, well = clinic.patient(number), clinic.healed(number)
    changed = [field.name for field in dataclasses.fields(ill) if getattr(ill, field.name) != getattr(well, field.name)]
    assert len(set(changed) - {"complaint"}) == 1


def test_a_cache_with_the_right_positions_samples_what_the_model_learned():
    record = clinic.HEALTHY.train(20)
    ids = record.of.batch(0)[0][0][:, :20]
    record.model.eval()
    torch.testing.assert_close(clinic.stepwise(record.model, ids), record.model(ids), atol=1e-4, rtol=1e-4)
