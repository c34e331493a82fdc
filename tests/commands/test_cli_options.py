"""The options of the command line, read from the configurations."""

import re

import pytest

from tinyllm.commands.cli_options import DoctorOptions, EvaluateOptions, RunOptions, SampleOptions, _settings, parse
from tinyllm.presets import PRESETS, get_preset

LAPTOP = RunOptions(config=get_preset("laptop"))


def read(line: str, defaults=LAPTOP):
    return parse(defaults, line.split(), "train laptop")


def error(line: str, defaults=LAPTOP) -> str:
    with pytest.raises(ValueError, match=r"\A.+\Z") as raised:  # one line
        read(line, defaults)
    return str(raised.value)


def test_without_options_the_defaults_are_returned():
    for preset in PRESETS.values():
        assert read("", RunOptions(config=preset)) == RunOptions(config=preset)


def test_each_kind_of_value_is_read_as_what_it_is():
    options = read(
        "--max-iterations 7 --dropout 0.25 --max-learning-rate 1e-3 --betas 0.8 0.9 --activation swiglu --data 123 "
        "--compile False --num-kv-heads 4 --qk-norm --no-bias --json"
    )
    expected = get_preset("laptop").replace(
        max_iterations=7, dropout=0.25, max_learning_rate=1e-3, betas=(0.8, 0.9), activation="swiglu", data="123",
        compile=False, num_kv_heads=4, qk_norm=True, bias=False,
    )  # fmt: skip
    assert options == RunOptions(config=expected, json=True)
    assert type(options.config.training.max_iterations) is int


def test_none_takes_back_a_presets_choice():
    modern = RunOptions(config=get_preset("wikitext103-modern"))
    assert modern.config.model.logit_softcap is not None
    assert read("--logit-softcap None", modern).config.model.logit_softcap is None
    assert read("--bias", modern).config.model.bias is True


def test_a_value_may_follow_an_equals_sign_and_a_name_may_have_underscores():
    assert read("--max_iterations=7") == read("--max-iterations 7")
    assert read("--no_bias") == read("--no-bias")
    text = parse(SampleOptions(), ["--prompt", "--a_b is kept", "--stop-tokens", "3", "4"], "sample RUN_FOLDER")
    assert text.prompt == "--a_b is kept"
    assert text.generation.stop_tokens == (3, 4)


def test_text_is_kept_as_it_is():
    options = parse(EvaluateOptions(), ["--data", "1e3", "--split", "None"], "evaluate RUN_FOLDER")
    assert (options.data, options.split) == ("1e3", "None")
    assert parse(SampleOptions(), ["--prompt", ""], "sample RUN_FOLDER").prompt == ""


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("--max-iterations many", "max_iterations must be a whole number from 1 to 1,000,000,000, not 'many'"),
        ("--max-iterations -5", "max_iterations must be a whole number from 1 to 1,000,000,000, not -5"),
        ("--max-iterations 1e3", "max_iterations must be a whole number from 1 to 1,000,000,000, not 1000.0"),
        ("--max-iterations", "argument --max-iterations: expected one argument"),
        ("--max-iterations --json", "argument --max-iterations: expected one argument"),
        ("--json=yes", "argument --json: ignored explicit argument 'yes'"),
        ("--dropout nan", "dropout must be a number between 0 and 0.99, not nan"),
        ("--betas 0.9", "betas must be two numbers"),
        ("--compile maybe", "compile must be True, False or None, not 'maybe'"),
        ("--activation relu", "activation must be one of 'gelu', 'gelu_tanh', 'relu_squared', 'swiglu', not 'relu'"),
        ("--num-heads 7", "num_heads must be a divisor of embedding_dim (256), not 7"),
        ("--max-iteration 5", "unknown option '--max-iteration': did you mean --max-iterations"),  # no abbreviations
        ("--bias", "unknown option '--bias': did you mean --no-bias"),
        ("stray", "unknown option 'stray'"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(line, wanted):
    assert error(line).startswith(wanted)


@pytest.mark.parametrize("defaults", [LAPTOP, EvaluateOptions(), SampleOptions(), DoctorOptions()])
def test_the_help_lists_the_options_that_are_read(defaults, capsys):
    with pytest.raises(SystemExit) as end:
        read("--seed wrong --help", defaults)
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m tinyllm train laptop")
    listed = set(re.findall(r"^\W*(--[a-z][\w-]+)", text, re.MULTILINE))
    assert listed == {setting.option for setting in _settings(defaults)}
