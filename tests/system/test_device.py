"""Which device is chosen, and when to compile: by what is there."""

import importlib.util
import math
import os
import shutil
from types import SimpleNamespace

import pytest
import torch

from tinyllm.system import device as module
from tinyllm.system.device import Arriving, pick_compile, pick_device, synchronize, total_memory

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def machine(monkeypatch, cuda: bool = False, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_best_device_there_is(monkeypatch, cuda, mps, chosen):
    machine(monkeypatch, cuda, mps)
    assert pick_device().type == chosen
    assert pick_device("cpu").type == "cpu"


def test_a_device_by_name(monkeypatch):
    machine(monkeypatch, cuda=True)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    machine(monkeypatch)
    with pytest.raises(ValueError, match="'cuda' is not available here; 'cpu' is"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="'mps' is not available"):
        pick_device("mps")
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        pick_device("gpu")


@pytest.mark.parametrize("name", ["meta", "xpu"])
def test_a_device_that_torch_knows_and_training_does_not(monkeypatch, name):
    machine(monkeypatch)
    with pytest.raises(ValueError, match="not available"):
        pick_device(name)


def test_compile_where_triton_and_a_compiler_are(monkeypatch):
    here = {"triton", "gcc"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "found" if name in here else None)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in here else None)
    assert pick_compile(CUDA)
    assert not pick_compile(CPU)
    assert pick_compile(CPU, True)
    assert not pick_compile(CUDA, False)
    here.remove("gcc")
    assert not pick_compile(CUDA)
    here |= {"clang"}
    assert pick_compile(CUDA)
    here.remove("triton")
    assert not pick_compile(CUDA)


@pytest.mark.parametrize(("name", "called"), [("cuda:1", ["cuda:1"]), ("mps", ["mps"]), ("cpu", [])])
def test_only_a_device_with_a_queue_is_waited_for(name, called, monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    synchronize(torch.device(name))
    assert waited == called


def test_a_gpus_memory_is_what_cuda_says_of_it(monkeypatch):
    asked = []
    properties = SimpleNamespace(total_memory=80 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: asked.append(device) or properties)
    assert total_memory(torch.device("cuda", 1)) == 80 << 30
    assert asked == [torch.device("cuda", 1)]


@pytest.mark.parametrize("device", [CPU, torch.device("mps")])
def test_a_container_may_have_less_memory_than_its_machine(monkeypatch, tmp_path, device):
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(module, "CONTAINER_LIMIT", limit)
    assert total_memory(device) == machine
    for content, expected in (("max\n", machine), ("1000000\n", 1e6), (f"{2 * machine}\n", machine), ("", machine)):
        limit.write_text(content)
        assert total_memory(device) == expected


def test_where_the_system_does_not_say_memory_is_unbounded(monkeypatch):
    monkeypatch.setattr(os, "sysconf_names", {})
    assert total_memory(CPU) == math.inf


def test_numbers_arrive_as_they_are():
    assert Arriving(torch.tensor([1.5, -2.0])).tolist() == [1.5, -2.0]
