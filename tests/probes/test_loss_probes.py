"""The probe of a run's losses."""

import pytest

from tinyllm.probes.loss_probes import overfitting

FALLING = [6 - 5.88 * step / 599 for step in range(600)]  # to 0.12


@pytest.mark.parametrize(
    ("training", "held_out", "ok"),
    [
        (FALLING, [(175, 1.518), (400, 1.7), (600, 1.888)], False),  # rising
        (FALLING, [(600, 1.888)], False),  # measured but once, and far above
        ([6.0] * 300 + [1.4] * 300, [(300, 1.5), (600, 1.55)], True),  # by chance
        ([6.0] * 300 + [1.4] * 300, [(300, 1.5), (600, 1.7)], False),
        ([1.4] * 300 + [6.0] * 300, [(300, 1.5), (600, 6.1)], True),  # it diverges: no memory's fault
        ([6.0] * 300 + [0.02] * 300, [(300, 5.9), (600, 0.06)], True),  # both know the text
        ([3.0] * 10, [(5, 3.0), (10, 2.9)], True),
        ([], [(0, 3.0)], None),
        ([3.0], [], None),
    ],
)
def test_a_held_out_loss_that_rises_or_stays_behind_is_overfitting(training, held_out, ok):
    assert overfitting((training, held_out)).ok is ok


def test_both_losses_and_the_best_are_told():
    found = overfitting((FALLING, [(175, 1.518), (600, 1.888)]))
    assert found.found == (
        "after step 600 the training loss is 0.26 and the held-out loss 1.89, which was lowest after step 175: 1.52."
    )
    assert "patience" in found.advice
    assert overfitting(None).ok is None
