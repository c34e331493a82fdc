"""The shape of a model: what only fits together."""

import pytest

from tinyllm import ModelConfig


def test_rotary_positions_need_pairs_of_numbers_in_each_head():
    with pytest.raises(ValueError, match=r"^positions must be .*odd \(3\), not 'rotary'"):
        ModelConfig(embedding_dim=24, num_heads=8, positions="rotary")
    assert ModelConfig(embedding_dim=24, num_heads=8).head_dim == 3
