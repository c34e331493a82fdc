"""What can be chosen: bad values are refused with the field's name, and one name is enough to override any field."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import DataConfig, GenerationConfig, ModelConfig, RunConfig, TrainingConfig

COUNTS = {
    ModelConfig: ["vocab_size", "context_length", "embedding_dim", "num_layers", "num_heads", "feedforward_dim"],
    TrainingConfig: [
        "max_iterations",
        "batch_size",
        "gradient_accumulation_steps",
        "evaluation_interval",
        "evaluation_blocks",
        "checkpoint_interval",
    ],
}
BAD_COUNTS = [0, -1, 1.0, 2.5, "8", True, None, math.nan, math.inf, [8], 10**10, 10**400]
BAD_SHARES = [-0.01, 1.0, 5, math.nan, "0.1", None, True, -math.inf, 10**400]
BAD_RATES = [-1e-9, math.nan, math.inf, -math.inf, 10**400, "1e-3", None, True]
BAD_SEEDS = [-1, 2**63, 10**30, 1.0, True, "0", math.nan]  # torch's generators take 64 bits
BAD = [
    *((kind, name, value) for kind, names in COUNTS.items() for name in names for value in BAD_COUNTS),
    *((ModelConfig, "dropout", value) for value in BAD_SHARES),
    *((ModelConfig, "activation", value) for value in ["relu", "GELU", None, 0, ["gelu"]]),
    *((ModelConfig, "norm", value) for value in ["batchnorm", "RMSNorm", None, 0]),
    *((ModelConfig, "positions", value) for value in ["rope", "", None, True]),
    *((ModelConfig, "num_kv_heads", value) for value in [0, -1, 2.0, "2", True, math.nan, [2]]),
    *((ModelConfig, "num_kv_heads", value) for value in [3, 16]),  # do not divide 8
    *((ModelConfig, name, value) for name in ("qk_norm", "bias", "zero_init") for value in [None, 0, 1, "yes", []]),
    *((ModelConfig, "logit_softcap", value) for value in [*BAD_RATES, 0, 0.0] if value is not None),
    (ModelConfig, "num_heads", 7),  # does not divide 512
    (ModelConfig, "num_heads", 1024),
    *((DataConfig, "data", value) for value in ["", None, 3, Path("a")]),
    *((DataConfig, "tokenizer", value) for value in ["gpt4", None, 1]),
    *((DataConfig, "block_begin", value) for value in ["", "article", None, True]),
    *((DataConfig, "validation_fraction", value) for value in BAD_SHARES),
    *((DataConfig, "split_seed", value) for value in [*BAD_SEEDS, None]),
    *((TrainingConfig, "optimizer", value) for value in ["sgd", "AdamW", None, 1]),
    *((TrainingConfig, "schedule", value) for value in ["linear", "wsd", None, True]),
    *((TrainingConfig, "decay_fraction", value) for value in [-0.01, 1.01, math.nan, math.inf, "0.1", None, True]),
    *((TrainingConfig, "max_learning_rate", value) for value in [*BAD_RATES, 0]),
    *((TrainingConfig, "min_learning_rate", value) for value in [*BAD_RATES, 1.0]),  # 1 is above the maximum
    *((TrainingConfig, "weight_decay", value) for value in BAD_RATES),
    *((TrainingConfig, "max_gradient_norm", value) for value in [*BAD_RATES, 0]),
    *((TrainingConfig, "warmup_iterations", value) for value in [-1, 1.5, True, "5", math.nan, 100_000]),
    *((TrainingConfig, "betas", value) for value in [0.9, (0.9,), (0.9, 0.9, 0.9), (0.9, 1.0), (-0.1, 0.9), "ab"]),
    *((TrainingConfig, "betas", value) for value in [(math.nan, 0.9), (False, 0.9), ("0", "0"), None, {}]),
    *((TrainingConfig, "precision", value) for value in ["half", None, 16]),
    *((TrainingConfig, "device", value) for value in [None, 0]),
    *((TrainingConfig, "compile", value) for value in [1, "yes", 0]),
    *((TrainingConfig, name, value) for name in ("deterministic", "recompute") for value in [None, 0, 1, "yes", []]),
    *((TrainingConfig, "seed", value) for value in [*BAD_SEEDS, None]),
    *((GenerationConfig, "maximum_length", value) for value in [-1, 1.5, True, "9", None, math.nan, 10**10]),
    *((GenerationConfig, "temperature", value) for value in [*BAD_RATES, 1e-7, 1e-40]),
    *((GenerationConfig, "top_k", value) for value in [0, -1, 1.0, True, "5", math.nan, 10**10]),
    *((GenerationConfig, "top_p", value) for value in [0, 0.0, -0.1, 1.01, True, "0.9", math.nan, math.inf]),
    *((GenerationConfig, "stop_tokens", value) for value in [5, 3.5, "ab", ("a",), (-1,), (True,), (1.0,), (None,)]),
    *((GenerationConfig, "seed", value) for value in BAD_SEEDS),
    *((RunConfig, "run_folder", value) for value in ["", None, 3]),
    *((RunConfig, "model", value) for value in [None, {"vocab_size": 3}, DataConfig()]),
    *((RunConfig, "dataset", value) for value in [None, "tinywiki", ModelConfig()]),
    *((RunConfig, "training", value) for value in [None, {}, ModelConfig()]),
]


@pytest.mark.parametrize(("kind", "name", "value"), BAD)
def test_a_bad_value_is_an_error_that_names_the_field(kind, name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be .+, not ") as error:
        kind(**{name: value})
    assert "\n" not in str(error.value)


def test_every_field_is_tried_with_bad_values():
    for kind in (ModelConfig, DataConfig, TrainingConfig, GenerationConfig, RunConfig):
        tried = {name for one, name, _ in BAD if one is kind}
        assert tried == {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ModelConfig, {"dropout": 0}),
        (ModelConfig, {"embedding_dim": 512, "num_heads": 512}),
        (ModelConfig, {"num_kv_heads": 8}),
        (ModelConfig, {"num_kv_heads": 1, "positions": "rotary", "logit_softcap": 1}),
        (ModelConfig, {"vocab_size": 1, "context_length": 1, "num_layers": 1}),
        (DataConfig, {"validation_fraction": 0, "split_seed": 2**63 - 1}),
        (TrainingConfig, {"max_iterations": 1, "warmup_iterations": 0, "seed": 2**63 - 1}),
        (TrainingConfig, {"min_learning_rate": 0, "max_learning_rate": 1, "weight_decay": 0, "betas": (0, 0.0)}),
        (TrainingConfig, {"schedule": "warmup_stable_decay", "decay_fraction": 1}),
        (TrainingConfig, {"decay_fraction": 0, "optimizer": "muon"}),
        (TrainingConfig, {"deterministic": True, "recompute": True, "compile": True}),
        (TrainingConfig, {"compile": False, "device": "cuda:1", "precision": "float16"}),
        (GenerationConfig, {"maximum_length": 0, "temperature": 0, "top_k": 1, "top_p": 1, "stop_tokens": ()}),
    ],
)
def test_values_at_the_border_are_allowed(kind, values):
    config = kind(**values)
    assert {name: getattr(config, name) for name in values} == values


@pytest.mark.parametrize(("size", "steps"), [(8, 4), (32, 1), (1, 32)])
def test_the_global_batch_is_all_blocks_of_a_step(size, steps):
    assert TrainingConfig(batch_size=size, gradient_accumulation_steps=steps).global_batch == 32
    assert "global_batch" not in RunConfig().to_dict()["training"]


def test_rotary_positions_need_pairs_of_numbers_in_each_head():
    with pytest.raises(ValueError, match=r"^positions must be .*odd \(3\), not 'rotary'"):
        ModelConfig(embedding_dim=24, num_heads=8, positions="rotary")
    assert ModelConfig(embedding_dim=24, num_heads=8).head_dim == 3


def test_a_configuration_from_before_these_choices_is_todays_default():
    """Checkpoints of that time hold the first eight fields of a model and none of the optimizer's."""
    content = RunConfig().to_dict()
    content["model"] = dict(list(content["model"].items())[:8])
    for name in ("optimizer", "schedule", "decay_fraction"):
        del content["training"][name]
    assert RunConfig.from_dict(content) == RunConfig()


def test_an_unknown_key_is_an_error_that_names_it():
    for kind in (ModelConfig, DataConfig, TrainingConfig, GenerationConfig):
        with pytest.raises(TypeError, match="num_layer"):
            kind(num_layer=3)


def test_stop_tokens_may_come_as_any_sequence_and_betas_as_a_list():
    assert GenerationConfig(stop_tokens=[1, 2]).stop_tokens == (1, 2)
    assert GenerationConfig(stop_tokens=iter(range(3))).stop_tokens == (0, 1, 2)
    assert TrainingConfig(betas=[0.5, 0.6]).betas == (0.5, 0.6)


def test_configs_are_frozen_and_can_be_compared_and_hashed():
    for kind in (ModelConfig, DataConfig, TrainingConfig, GenerationConfig, RunConfig):
        config = kind()
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, dataclasses.fields(kind)[0].name, 1)
        assert config == kind()
        assert hash(config) == hash(kind())


def test_field_names_are_unique_across_a_runs_parts():
    names = [field.name for kind in (ModelConfig, DataConfig, TrainingConfig) for field in dataclasses.fields(kind)]
    names += ["model", "dataset", "training", "run_folder"]
    assert len(names) == len(set(names))


def test_defaults_are_the_reference_run():
    model, training = RunConfig().model, RunConfig().training
    assert dataclasses.astuple(model)[:8] == (50_257, 512, 512, 8, 8, 2048, 0.1, "gelu")
    assert dataclasses.astuple(model)[8:] == ("layernorm", "learned", None, False, True, False, None)
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


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.binary(max_size=3), st.complex_numbers(),
)  # fmt: skip
FIELDS = [(kind, f.name) for kind in (ModelConfig, DataConfig, TrainingConfig, GenerationConfig, RunConfig)
          for f in dataclasses.fields(kind)]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), FIELDS)
@given(value=ANYTHING)
def test_anything_else_is_a_value_that_works_or_an_error_that_names_a_field(kind, name, value):
    try:
        config = kind(**{name: value})
    except ValueError as error:
        assert any(str(error).startswith(f"{field.name} must be ") for field in dataclasses.fields(kind))
        assert "\n" not in str(error)
    else:
        assert kind is RunConfig or kind(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("iterations", "warmup"), [(100_000, 2000), (200_000, 2000), (99_999, 1999), (1000, 20), (49, 0), (1, 0)]
)
def test_default_warm_up_is_a_fiftieth_of_the_run_and_2000_at_most(iterations, warmup):
    assert TrainingConfig(max_iterations=iterations).warmup == warmup


def test_a_warm_up_that_is_given_is_used():
    assert TrainingConfig(max_iterations=100, warmup_iterations=7).warmup == 7
    assert TrainingConfig(max_iterations=100_000, warmup_iterations=0).warmup == 0
