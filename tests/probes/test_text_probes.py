"""The probes of a text."""

import numpy as np
import pytest

from tinyllm.probes.text_probes import floor, leak


def test_a_leak_is_a_piece_of_text_not_a_byte_pattern():
    training = np.arange(5000, dtype=np.uint16)
    assert leak((training, training[1000:1200])).ok is False
    assert leak((training, training[::-1])).ok
    shifted = np.frombuffer(training.tobytes()[1:-1], np.uint16)  # the same bytes, cut elsewhere
    assert leak((training, shifted)).ok
    assert leak((training, training[:3])).ok is None
    assert leak(None).ok is None


@pytest.mark.parametrize(("pieces", "ok"), [(1, True), (32, False)])
def test_few_pieces_may_occur_in_both_texts_by_chance(pieces, ok):
    training, held_out = np.arange(10_000), np.arange(20_000, 30_000)
    starts = np.linspace(0, len(held_out) - 48, 64).astype(int)[:pieces]
    for start in starts:
        training[start : start + 48] = held_out[start : start + 48]
    assert leak((training, held_out)).ok is ok


def test_the_floor_has_a_margin():
    assert floor(None).ok is None
    assert floor((0.30, 0.31, 0.01)).ok
    assert floor((0.20, 0.31, 0.01)).ok is False
