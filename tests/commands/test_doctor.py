"""The doctor: what it finds here, and one remedy for each thing that can be missing."""

import importlib.metadata
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tinyllm.commands import doctor


@pytest.fixture(autouse=True)
def _plenty_of_room(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50e9))


def check(subject: str) -> doctor.Check:
    (found,) = [one for one in doctor.examine() if one.subject == subject]
    return found


def raising(error: Exception):
    def function(*_):
        raise error

    return function


def memory(monkeypatch, free_pages: int, meminfo: Path = Path("nowhere")) -> doctor.Check:
    pages = {"SC_PAGE_SIZE": 4096, "SC_AVPHYS_PAGES": free_pages, "SC_PHYS_PAGES": 4_000_000}
    monkeypatch.setattr(doctor, "MEMINFO", meminfo)
    monkeypatch.setattr(os, "sysconf_names", dict.fromkeys(pages, 0))
    monkeypatch.setattr(os, "sysconf", pages.get)
    return doctor._memory(torch.device("cpu"))


def test_what_works_is_told_without_a_remedy(monkeypatch):
    monkeypatch.setattr(doctor, "check_reachable", lambda *_: None)
    monkeypatch.setattr(doctor, "_memory", lambda _: doctor.Check("memory", "enough"))
    checks = doctor.examine()
    assert [one.subject for one in checks] == [
        "Python", "torch", "precision", "memory", "run folders", "cache", "GPT-2 vocabulary", "WikiText", "widgets",
        "JupyterLab",
    ]  # fmt: skip
    assert all(one.ok and one.remedy == "" and one.found for one in checks)


def test_a_check_with_a_remedy_is_not_ok():
    assert doctor.Check("cache", "here").ok
    assert not doctor.Check("cache", "not here", "make one").ok


def test_versions_and_precision_are_those_of_this_machine():
    assert check("torch").found.startswith(f"{torch.__version__} on cpu, ")
    assert check("precision").found == "float32, torch.compile off by default"
    assert check("widgets").found == f"ipywidgets {importlib.metadata.version('ipywidgets')}"


def test_little_free_memory_has_a_remedy(monkeypatch):
    enough = memory(monkeypatch, 1_000_000)
    assert enough == doctor.Check("memory", "4.1 of 16.4 GB free")
    little = memory(monkeypatch, 400_000)
    assert little.found == "1.6 of 16.4 GB free"
    assert little.remedy == "close other programs: training needs about 2 GB"


def test_memory_that_caches_files_counts_as_free(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16000000 kB\nMemFree:         1600000 kB\nMemAvailable:    3000000 kB\n")
    assert memory(monkeypatch, 400_000, meminfo) == doctor.Check("memory", "3.1 of 16.4 GB free")
    meminfo.write_text("MemTotal:       16000000 kB\n")  # as old kernels write it
    assert memory(monkeypatch, 400_000, meminfo).found == "1.6 of 16.4 GB free"


def test_a_system_that_does_not_tell_its_memory_is_no_problem(monkeypatch):
    monkeypatch.setattr(os, "sysconf_names", {})
    silent = doctor._memory(torch.device("cpu"))
    assert silent.ok
    assert "does not say" in silent.found


def test_a_gpu_is_named_with_its_own_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(12.5e9), int(16e9)))
    assert "Tesla T4" in doctor._torch(torch.device("cuda")).found
    assert doctor._memory(torch.device("cuda")) == doctor.Check("GPU memory", "12.5 of 16.0 GB free")


@pytest.mark.parametrize(("subject", "remedy"), [("run folders", "change to a folder"), ("cache", "set TINYLLM_HOME")])
def test_a_folder_that_cannot_be_written_has_a_remedy(subject, remedy, monkeypatch, tmp_path):
    assert check(subject).ok
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(os, "access", lambda folder, mode: mode != os.W_OK)
    found = check(subject)
    assert found.found == f"{tmp_path} cannot be written"  # the nearest folder that exists
    assert found.remedy == f"{remedy} {'to a folder ' if subject == 'cache' else ''}you can write to"


@pytest.mark.parametrize("home", ["file", "file/below"])
def test_a_cache_that_would_be_in_a_file_has_a_remedy(home, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / home))
    remedy = "set TINYLLM_HOME to a folder you can write to"
    assert check("cache") == doctor.Check("cache", f"{tmp_path / 'file'} cannot be written", remedy)


@pytest.mark.parametrize("subject", ["run folders", "cache"])
def test_a_full_disk_has_a_remedy(subject, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e9))
    found = check(subject)
    assert found.found.endswith(", 1 GB free")
    assert found.remedy.startswith("free some disk space")


def test_no_home_folder_has_a_remedy(monkeypatch):
    monkeypatch.setattr(doctor, "home", raising(OSError("there is no home folder; set TINYLLM_HOME")))
    assert check("cache") == doctor.Check("cache", "no folder", "there is no home folder; set TINYLLM_HOME")


@pytest.mark.parametrize("error", [ConnectionError("no network; copy the files"), ValueError("a page; try again")])
def test_a_missing_vocabulary_has_the_remedy_of_whoever_fetches_it(error, monkeypatch):
    assert check("GPT-2 vocabulary") == doctor.Check("GPT-2 vocabulary", "available")  # the tests bring it
    monkeypatch.setattr(doctor, "fetch_gpt2_vocabulary", raising(error))
    assert check("GPT-2 vocabulary") == doctor.Check("GPT-2 vocabulary", "not available", str(error))


def test_wikitext_comes_from_the_hub_or_has_a_remedy(monkeypatch):
    unreachable = check("WikiText")  # the tests have no network
    assert unreachable.found == "not available"
    assert "TINYLLM_DATA" in unreachable.remedy
    monkeypatch.setattr(doctor, "check_reachable", lambda *_: None)
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert check("WikiText") == doctor.Check("WikiText", "can be downloaded from https://mirror.example")


def test_wikitext_may_be_a_file_of_ones_own(monkeypatch, tmp_path):
    for split in ("train", "valid"):
        (tmp_path / f"wiki.{split}.raw").write_text(f" = {split} = \n\n words \n")
    monkeypatch.setenv("TINYLLM_DATA", str(tmp_path))
    found = check("WikiText")
    assert found.ok
    assert found.found == f"from TINYLLM_DATA, {tmp_path}: train, validation"
    monkeypatch.setenv("TINYLLM_DATA", str(tmp_path / "nowhere"))
    assert "nowhere" in check("WikiText").remedy


@pytest.mark.parametrize(("subject", "package"), [("widgets", "ipywidgets"), ("JupyterLab", "jupyterlab")])
def test_a_missing_package_has_a_remedy(subject, package, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", raising(importlib.metadata.PackageNotFoundError(package)))
    assert check(subject) == doctor.Check(subject, f"{package} is not installed", f"pip install {package}")
