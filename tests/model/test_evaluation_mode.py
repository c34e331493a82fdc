"""Evaluation mode for a while, whatever mode each module was in before."""

import pytest

from tinyllm.model.evaluation_mode import evaluation_mode


def modes(model) -> list[bool]:
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_inside_and_the_mode_comes_back(model, training):
    model.train(training)
    with evaluation_mode(model):
        assert not any(modes(model))
    assert all(mode is training for mode in modes(model))


def test_modules_in_different_modes_each_get_their_own_back(model):
    model.train()
    model.blocks[0].eval()
    before = modes(model)
    assert len(set(before)) == 2
    with evaluation_mode(model):
        assert not any(modes(model))
    assert modes(model) == before


def test_the_mode_comes_back_after_an_error_and_out_of_a_nested_use(model):
    model.train()
    with pytest.raises(RuntimeError, match="on purpose"), evaluation_mode(model):
        with evaluation_mode(model):
            pass
        assert not any(modes(model)), "the inner one must not switch dropout on again"
        raise RuntimeError("on purpose")
    assert all(modes(model))
