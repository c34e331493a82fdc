"""A small run, a small vocabulary, and a widget of each kind."""

import math

import pytest

import tinyllm
from tinyllm import SubWordTokenizer
from tinyllm.course.widgets import AttentionViewer, SamplingPlayground, TokenExplorer, TrainingDashboard
from tinyllm.text import tinywiki

SETTINGS = {"embedding_dim": 32, "num_layers": 2, "num_heads": 2, "feedforward_dim": 64, "batch_size": 2}


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("widgets") / "run"
    return tinyllm.train("quickstart", max_iterations=30, run_folder=str(folder), progress=False, **SETTINGS)


@pytest.fixture(scope="session")
def tokenizer():
    return SubWordTokenizer.train([article.text for article in tinywiki.articles("train")[:100]], vocab_size=357)


@pytest.fixture
def dashboard():
    """Makes a dashboard of a small training."""
    return lambda folder, **settings: TrainingDashboard(
        "quickstart", run_folder=str(folder), lines={"uniform guess": math.log(1024)}, **SETTINGS | settings
    )


@pytest.fixture
def widgets(run, tokenizer, dashboard, tmp_path):
    return {
        "tokens": TokenExplorer(tokenizer, "The low river."),
        "attention": AttentionViewer(run, " = Agatha Otterford ="),
        "sampling": SamplingPlayground(run, " = Agatha"),
        "training": dashboard(tmp_path / "run"),
    }
