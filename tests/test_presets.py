"""The runs with a name: what they promise, and what an unknown name is answered with."""

import json

import pytest

from tinyllm import GPT, PRESETS, RunConfig
from tinyllm.presets import get_preset


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip_through_json(name):
    assert RunConfig.from_dict(json.loads(json.dumps(PRESETS[name].to_dict()))) == PRESETS[name]


def test_a_preset_is_found_by_its_name():
    assert list(PRESETS) == ["quickstart", "laptop", "wikitext103", "wikitext103-modern"]
    assert all(get_preset(name) is PRESETS[name] for name in PRESETS)


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(ValueError, match=r"unknown preset 'lapptop': did you mean laptop\?"):
        get_preset("lapptop")
    with pytest.raises(ValueError, match="known are laptop, quickstart, wikitext103, wikitext103-modern"):
        get_preset("enormous")


def test_the_full_run_is_all_defaults():
    assert PRESETS["wikitext103"] == RunConfig()


def test_no_two_presets_share_a_run_folder():
    assert len({preset.run_folder for preset in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize(
    ("name", "millions"), [("quickstart", 1.1), ("laptop", 5.1), ("wikitext103", 51.2), ("wikitext103-modern", 50.9)]
)
def test_presets_have_about_as_many_parameters_as_they_promise(name, millions):
    model = GPT(PRESETS[name].model).to("meta")
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_modern_run_changes_choices_and_neither_data_nor_size():
    modern, plain = PRESETS["wikitext103-modern"], PRESETS["wikitext103"]
    assert modern.dataset == plain.dataset
    for name in ("vocab_size", "context_length", "embedding_dim", "num_layers", "num_heads", "feedforward_dim"):
        assert getattr(modern.model, name) == getattr(plain.model, name)
    for name in ("max_iterations", "batch_size", "gradient_accumulation_steps"):
        assert getattr(modern.training, name) == getattr(plain.training, name)
