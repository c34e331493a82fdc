"""What every test has: its own folders, checked shapes, GPT-2's vocabulary without a network, and no way out to one."""

import dataclasses
import shutil
from pathlib import Path

from isolation import isolate

SCRATCH = isolate()

from jaxtyping import install_import_hook
from shape_checking import modules_with_shapes

install_import_hook(modules_with_shapes(), "shape_checking.check_shapes")

import pytest

pytest.register_assert_rewrite("saved_checkpoints", "small_runs")  # their asserts then show both sides

import torch
from small_runs import text, uninterrupted  # noqa: F401

from tinyllm import ModelConfig, SubWordTokenizer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the long forms of the reliability tests")
    parser.addoption("--claims", action="store_true", help="run the tests of the course's claims, and nothing else")
    parser.addoption("--seeds", help="with --claims: judge with these, such as 21,22,23,24,25, and write nothing")


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    claims = config.getoption("--claims")
    items[:] = [item for item in items if bool(item.get_closest_marker("claim")) == claims]
    if claims:
        for item in items:
            item.add_marker(pytest.mark.timeout(3600))
    if not config.getoption("--slow"):
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_unconfigure() -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture
def tiny_config() -> ModelConfig:
    """A model of a few thousand weights, without dropout."""
    return ModelConfig(
        vocab_size=97,
        context_length=16,
        embedding_dim=24,
        num_layers=2,
        num_heads=3,
        feedforward_dim=48,
        dropout=0.0,
    )


@pytest.fixture
def modern_config(tiny_config) -> ModelConfig:
    """The same size with every choice since GPT-2; each head of keys and values serves two of queries."""
    return dataclasses.replace(
        tiny_config, embedding_dim=32, num_heads=4, activation="swiglu", norm="rmsnorm", positions="rotary",
        num_kv_heads=2, qk_norm=True, bias=False, zero_init=True, logit_softcap=5.0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def gpt2_tokenizer() -> SubWordTokenizer:
    return SubWordTokenizer("gpt2")


@pytest.fixture(scope="session")
def sample_text() -> Path:
    """Three articles in WikiText's raw format, written for these tests."""
    return Path(__file__).parent / "sample.raw"
