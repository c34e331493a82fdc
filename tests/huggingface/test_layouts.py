"""The tables of names: every parameter of ours has one, and no two are the same."""

import dataclasses

import pytest

from tinyllm import GPT, ModelConfig
from tinyllm.huggingface.layouts import LAYOUTS, parameter_names


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_parameter_has_a_name_of_its_own_there_and_every_choice_a_value(kind):
    layout = LAYOUTS[kind]
    config = ModelConfig(89, 24, 32, num_layers=2, num_heads=4, feedforward_dim=50, **layout.choices)
    names = parameter_names(layout, config)
    assert names.keys() == GPT(config).state_dict().keys()
    theirs = [name for parts, _ in names.values() for name in parts]
    assert len(set(theirs)) == len(theirs)
    decided_elsewhere = {"activation", "num_kv_heads", "lora", "zero_init"}  # by the conversion, or of no effect
    fields = {field.name for field in dataclasses.fields(ModelConfig)}
    assert fields - decided_elsewhere <= layout.fields.keys() | layout.choices.keys()
