"""What can be chosen: bad values are refused with the field's name, and one name is enough to override any field."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
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
FLAGS = ["deterministic", "recompute", "csv", "tensorboard"]
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
    *((ModelConfig, "lora", value) for value in [-1, 1.5, "8", True, None, math.nan, 10**5]),
    *((ModelConfig, "logit_softcap", value) for value in [*BAD_RATES, 0, 0.0] if value is not None),
    (ModelConfig, "num_heads", 7),  # does not divide 512
    (ModelConfig, "num_heads", 1024),
    *((DataConfig, "data", value) for value in ["", None, 3, Path("a")]),
    *((DataConfig, "text_field", value) for value in ["", None, 3, ["text"]]),
    *((DataConfig, "tokenizer", value) for value in ["gpt4", None, 1]),
    *((DataConfig, "block_begin", value) for value in ["", "article", None, True]),
    *((DataConfig, "dialogues", value) for value in [None, 0, 1, "yes", []]),
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
    *((TrainingConfig, "patience", value) for value in [0, -1, 1.5, True, "5", math.nan, 10**10, [3]]),
    *((TrainingConfig, "betas", value) for value in [0.9, (0.9,), (0.9, 0.9, 0.9), (0.9, 1.0), (-0.1, 0.9), "ab"]),
    *((TrainingConfig, "betas", value) for value in [(math.nan, 0.9), (False, 0.9), ("0", "0"), None, {}]),
    *((TrainingConfig, "precision", value) for value in ["half", None, 16]),
    *((TrainingConfig, "device", value) for value in [None, 0]),
    *((TrainingConfig, "compile", value) for value in [1, "yes", 0]),
    *((TrainingConfig, name, value) for name in FLAGS for value in [None, 0, 1, "yes", []]),
    *((TrainingConfig, "seed", value) for value in [*BAD_SEEDS, None]),
    *((TrainingConfig, "init_from", value) for value in ["", " ", 3, True, Path("a")]),
    *((GenerationConfig, "maximum_length", value) for value in [-1, 1.5, True, "9", None, math.nan, 10**10]),
    *((GenerationConfig, "temperature", value) for value in [*BAD_RATES, 1e-7, 1e-40]),
    *((GenerationConfig, "top_k", value) for value in [0, -1, 1.0, True, "5", math.nan, 10**10]),
    *((GenerationConfig, "top_p", value) for value in [0, 0.0, -0.1, 1.01, True, "0.9", math.nan, math.inf]),
    *((GenerationConfig, "stop_tokens", value) for value in [5, 3.5, "ab", ("a",), (-1,), (True,), (1.0,), (None,)]),
    *((GenerationConfig, "stop", value) for value in [None, 5, b"a", "", ("",), ["a", ""], (1,), (None,), {"a"}]),
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
        (TrainingConfig, {"patience": 1, "csv": True, "tensorboard": True}),
        (TrainingConfig, {"compile": False, "device": "cuda:1", "precision": "float16"}),
        (GenerationConfig, {"maximum_length": 0, "temperature": 0, "top_k": 1, "top_p": 1, "stop_tokens": ()}),
    ],
)
def test_values_at_the_border_are_allowed(kind, values):
    config = kind(**values)
    assert {name: getattr(config, name) for name in values} == values


@pytest.mark.parametrize("scalar", [np.asarray, torch.tensor, lambda value: np.asarray(value)[()]])
def test_scalars_of_numpy_and_torch_are_numbers_in_every_field_that_takes_one(scalar):
    """And are stored as plain ones, so that the configuration can be written as JSON, compared and hashed."""
    for kind in (ModelConfig, DataConfig, TrainingConfig, GenerationConfig):
        numbers = {"top_k": 3, "top_p": 0.5, "seed": 3, "logit_softcap": 2.0, "num_kv_heads": 2, "warmup_iterations": 3}
        defaults = dataclasses.asdict(kind())
        values = {name: numbers.get(name, default) for name, default in defaults.items()}
        counted = {name: value for name, value in values.items() if type(value) in (int, float)}
        assert counted
        config = kind(**{name: scalar(value) for name, value in counted.items()})
        for name, value in counted.items():
            found = getattr(config, name)
            assert type(found) is type(value)
            assert found == pytest.approx(value, rel=1e-6)  # torch's default is float32
        assert kind(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
        hash(config)
    assert TrainingConfig(betas=[scalar(0.5), scalar(0.25)]).betas == (0.5, 0.25)
    assert GenerationConfig(stop_tokens=[scalar(1), scalar(2)]).stop_tokens == (1, 2)


def test_an_unknown_key_is_an_error_that_names_it():
    for kind in (ModelConfig, DataConfig, TrainingConfig, GenerationConfig):
        with pytest.raises(TypeError, match="num_layer"):
            kind(num_layer=3)


def test_configs_are_frozen_and_can_be_compared_and_hashed():
    for kind in (ModelConfig, DataConfig, TrainingConfig, GenerationConfig, RunConfig):
        config = kind()
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, dataclasses.fields(kind)[0].name, 1)
        assert config == kind()
        assert hash(config) == hash(kind())


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
