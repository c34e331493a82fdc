"""What works on this machine, and the one thing to do about each that does not."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from tinyllm.system.cache import home
from tinyllm.system.device import pick_compile, pick_device
from tinyllm.system.hub import check_reachable, hub_endpoint
from tinyllm.system.precision import pick_precision
from tinyllm.text.gpt2_vocabulary import fetch_gpt2_vocabulary
from tinyllm.text.sources import load_corpus
from tinyllm.text.wikitext import HUB_CORPORA, HUB_NAME, WAYS_OUT


@dataclass(frozen=True)
class Options:
    """Options of `doctor`."""

    json: bool = False
    """Print one JSON object on standard output."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination; `remedy` is empty where all is well."""

    subject: str
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.remedy


def examine() -> list[Finding]:
    """Look at everything a run may need. Takes some seconds where the network does not answer."""
    return list(_examine())


def _examine() -> Iterator[Finding]:
    yield Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    device = pick_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    yield Finding("torch", f"{torch.__version__} on {name}, {torch.get_num_threads()} CPU threads")
    precision = str(pick_precision(device)).removeprefix("torch.")
    yield Finding("precision", f"{precision}, torch.compile {'on' if pick_compile(device) else 'off'} by default")
    yield _memory(device)
    yield _writable("run folders", Path.cwd(), "change to a folder you can write to")
    try:
        yield _writable("cache", home(), "set TINYLLM_HOME to a folder you can write to")
    except OSError as error:
        yield Finding("cache", "not here", str(error))
    try:
        fetch_gpt2_vocabulary()
        yield Finding("GPT-2 vocabulary", "here")
    except (OSError, ValueError) as error:
        yield Finding("GPT-2 vocabulary", "not here", str(error))
    yield _wikitext()
    yield _package("widgets", "ipywidgets", "pip install ipywidgets")
    yield _package("JupyterLab", "jupyterlab", "pip install jupyterlab")


def _memory(device: torch.device) -> Finding:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Finding("GPU memory", f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free")
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return Finding("memory", "this system does not say how much is free")
    page, free, total = (os.sysconf(key) / 1 for key in ("SC_PAGE_SIZE", "SC_AVPHYS_PAGES", "SC_PHYS_PAGES"))
    remedy = "" if page * free > 2e9 else "close other programs: training wants about 2 GB"
    return Finding("memory", f"{page * free / 1e9:.1f} of {page * total / 1e9:.1f} GB free", remedy)


def _writable(subject: str, folder: Path, remedy: str) -> Finding:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        return Finding(subject, f"{existing} cannot be written", remedy)
    free = shutil.disk_usage(existing).free
    small = "" if free > 3e9 else "make room: the full run's checkpoints take about 2 GB"
    return Finding(subject, f"{folder}, {free / 1e9:.0f} GB free", small)


def _wikitext() -> Finding:
    source = os.environ.get("TINYLLM_DATA")
    try:
        if source:
            splits = load_corpus(source).splits
            return Finding("WikiText", f"from TINYLLM_DATA, {source}: {', '.join(splits)}")
        check_reachable(hub_endpoint(), f"{HUB_NAME} {HUB_CORPORA[0]}", WAYS_OUT)
    except (OSError, ValueError) as error:
        return Finding("WikiText", "not here", str(error))
    return Finding("WikiText", f"can be downloaded from {hub_endpoint()}")


def _package(subject: str, package: str, remedy: str) -> Finding:
    try:
        return Finding(subject, f"{package} {importlib.metadata.version(package)}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(subject, f"{package} is not installed", remedy)
