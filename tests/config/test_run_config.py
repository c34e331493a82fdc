"""All settings of a run: one name is enough to override any, and they survive a trip through JSON."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import DataConfig, ModelConfig, RunConfig, TrainingConfig


def test_a_configuration_from_before_these_choices_is_todays_default():
    """Checkpoints of that time hold the first eight fields of a model and none of the optimizer's."""
    content = RunConfig().to_dict()
    content["model"] = dict(list(content["model"].items())[:8])
    for name in ("optimizer", "schedule", "decay_fraction"):
        del content["training"][name]
    assert RunConfig.from_dict(content) == RunConfig()


def test_field_names_are_unique_across_a_runs_parts():
    names = [field.name for kind in (ModelConfig, DataConfig, TrainingConfig) for field in dataclasses.fields(kind)]
    names += ["model", "dataset", "training", "run_folder"]
    assert len(names) == len(set(names))


def test_defaults_are_the_reference_run():
    model, training = RunConfig().model, RunConfig().training
    assert dataclasses.astuple(model)[:8] == (50_257, 512, 512, 8, 8, 2048, 0.1, "gelu")
    assert dataclasses.astuple(model)[8:] == ("layernorm", "learned", None, False, True, False, None, 0)
    assert (model.head_dim, model.kv_heads) == (64, 8)
    assert (training.optimizer, training.schedule) == ("adamw", "cosine")
    assert (training.max_iterations, training.batch_size, training.gradient_accumulation_steps) == (100_000, 8, 4)
    assert (training.max_learning_rate, training.min_learning_rate) == (6e-4, 6e-5)
    assert (training.betas, training.weight_decay, training.max_gradient_norm) == ((0.9, 0.95), 0.1, 1.0)
    assert (training.checkpoint_interval, RunConfig().run_folder) == (5000, "models/tiny")


def test_replace_finds_each_field_by_its_name():
    changed = {
        "vocab_size": 99, "dropout": 0.3, "data": "tinywiki", "split_seed": 4, "seed": 5, "betas": (0.1, 0.2),
        "run_folder": "elsewhere",
    }  # fmt: skip
    before = RunConfig()
    config = before.replace(**changed)
    parts = {**vars(config.model), **vars(config.dataset), **vars(config.training), "run_folder": config.run_folder}
    original = {**vars(ModelConfig()), **vars(DataConfig()), **vars(TrainingConfig()), "run_folder": "models/tiny"}
    assert parts == original | changed
    assert before == RunConfig()
    assert before.replace() == before


def test_replace_changes_fields_that_only_fit_together():
    config = RunConfig().replace(embedding_dim=36, num_heads=9, max_learning_rate=1e-5, min_learning_rate=1e-6)
    assert config.model.head_dim == 4


@pytest.mark.parametrize(
    ("name", "near"),
    [("max_iteration", "max_iterations"), ("batchsize", "batch_size"), ("warm_up_iterations", "warmup_iterations"),
     ("run_foldr", "run_folder"), ("contextlength", "context_length"), ("dat", "data")],
)  # fmt: skip
def test_replace_answers_an_unknown_name_with_near_ones(name, near):
    with pytest.raises(ValueError, match=rf"'{name}'.*did you mean.*\b{near}\b"):
        RunConfig().replace(**{name: 1})


def test_replace_lists_every_name_where_none_is_near():
    with pytest.raises(ValueError, match="'zzz'") as error:
        RunConfig().replace(zzz=1)
    for kind in (ModelConfig, DataConfig, TrainingConfig):
        for field in dataclasses.fields(kind):
            assert field.name in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"), [("vocab_size", 0), ("betas", 3), ("data", None), ("run_folder", None), ("data", 5)]
)
def test_replace_refuses_bad_values_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        RunConfig().replace(**{name: value})


def test_replace_takes_paths():
    config = RunConfig().replace(data=Path("texts") / "my.txt", run_folder=Path("models") / "mine")
    assert Path(config.dataset.data) == Path("texts/my.txt")
    assert Path(config.run_folder) == Path("models/mine")
    assert json.dumps(config.to_dict())


runs = st.builds(
    RunConfig,
    model=st.builds(ModelConfig, vocab_size=st.integers(1, 10**6), dropout=st.floats(0, 0.99)),
    dataset=st.builds(DataConfig, data=st.text(min_size=1), split_seed=st.integers(0, 2**63 - 1)),
    training=st.builds(
        TrainingConfig,
        betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
        max_learning_rate=st.floats(1e-4, 1),
        warmup_iterations=st.none() | st.integers(0, 100),
        compile=st.none() | st.booleans(),
    ),
    run_folder=st.text(min_size=1),
)


@given(runs)
def test_a_run_round_trips_through_json(run):
    again = RunConfig.from_dict(json.loads(json.dumps(run.to_dict())))
    assert again == run
    assert type(again.training.betas) is tuple


@pytest.mark.parametrize("part", ["model", "dataset", "training", "run_folder"])
def test_from_dict_names_a_part_that_is_missing(part):
    content = RunConfig().to_dict()
    del content[part]
    with pytest.raises(ValueError, match=f"not a run's configuration.*{part}"):
        RunConfig.from_dict(content)


@pytest.mark.parametrize("part", ["model", "dataset", "training"])
def test_from_dict_names_what_it_does_not_know(part):
    content = RunConfig().to_dict()
    content[part]["flavour"] = 1
    with pytest.raises(ValueError, match=r"not a run's configuration.*flavour"):
        RunConfig.from_dict(content)
    with pytest.raises(ValueError, match=r"not a run's configuration.*flavour"):
        RunConfig.from_dict(RunConfig().to_dict() | {"flavour": 1})


@pytest.mark.parametrize("content", [None, [], "run", 3, {}, RunConfig().to_dict() | {"model": None}])
def test_from_dict_refuses_what_is_no_configuration(content):
    with pytest.raises(ValueError, match="not a run's configuration"):
        RunConfig.from_dict(content)


def test_from_dict_refuses_bad_values_by_name():
    content = RunConfig().to_dict()
    content["model"]["num_layers"] = 0
    with pytest.raises(ValueError, match=r"^num_layers must be"):
        RunConfig.from_dict(content)
