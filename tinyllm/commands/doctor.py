"""What works on this machine, and the one thing to do about each that does not."""

import importlib.metadata
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from tinyllm.system.cache import home
from tinyllm.system.device import pick_compile, pick_device
from tinyllm.system.hub import check_reachable, hub_endpoint
from tinyllm.system.precision import pick_precision
from tinyllm.text.gpt2_vocabulary import fetch_gpt2_vocabulary
from tinyllm.text.hub_datasets import WAYS_OUT
from tinyllm.text.sources import load_corpus
from tinyllm.text.wikitext import HUB_CORPORA, HUB_NAME

MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Check:
    """One line of the examination; `remedy` is empty where all is well."""

    subject: str
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.remedy


def examine() -> list[Check]:
    """Check everything that a run may need. Takes a few seconds where the network does not answer."""
    device = pick_device()
    return [
        Check("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _torch(device),
        _precision(device),
        _memory(device),
        _writable("run folders", Path.cwd(), "change to a folder you can write to"),
        _cache(),
        _gpt2_vocabulary(),
        _wikitext(),
        _package("widgets", "ipywidgets"),
        _package("JupyterLab", "jupyterlab"),
    ]


def _torch(device: torch.device) -> Check:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Check("torch", f"{torch.__version__} on {name}, {torch.get_num_threads()} CPU threads")


def _precision(device: torch.device) -> Check:
    precision = str(pick_precision(device)).removeprefix("torch.")
    return Check("precision", f"{precision}, torch.compile {'on' if pick_compile(device) else 'off'} by default")


def _memory(device: torch.device) -> Check:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Check("GPU memory", f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free")
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return Check("memory", "this system does not say how much is free")
    page, free, total = (os.sysconf(key) for key in ("SC_PAGE_SIZE", "SC_AVPHYS_PAGES", "SC_PHYS_PAGES"))
    free *= page
    if MEMINFO.exists():  # Linux caches files in what is free, but gives that memory back to whoever needs it
        available = re.search(r"^MemAvailable: +(\d+) kB", MEMINFO.read_text(), re.MULTILINE)
        free = 1024 * int(available[1]) if available else free
    remedy = "" if free > 2e9 else "close other programs: training needs about 2 GB"
    return Check("memory", f"{free / 1e9:.1f} of {page * total / 1e9:.1f} GB free", remedy)


def _writable(subject: str, folder: Path, remedy: str) -> Check:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        return Check(subject, f"{existing} cannot be written", remedy)
    free = shutil.disk_usage(existing).free
    remedy = "" if free > 3e9 else "free some disk space: the full run's checkpoints take about 2 GB"
    return Check(subject, f"{folder}, {free / 1e9:.0f} GB free", remedy)


def _cache() -> Check:
    try:
        return _writable("cache", home(), "set TINYLLM_HOME to a folder you can write to")
    except OSError as error:
        return Check("cache", "no folder", str(error))


def _gpt2_vocabulary() -> Check:
    try:
        fetch_gpt2_vocabulary()
    except (OSError, ValueError) as error:
        return Check("GPT-2 vocabulary", "not available", str(error))
    return Check("GPT-2 vocabulary", "available")


def _wikitext() -> Check:
    source = os.environ.get("TINYLLM_DATA")
    try:
        if source:
            return Check("WikiText", f"from TINYLLM_DATA, {source}: {', '.join(load_corpus(source).splits)}")
        check_reachable(hub_endpoint(), f"{HUB_NAME} {HUB_CORPORA[0]}", WAYS_OUT)
    except (OSError, ValueError) as error:
        return Check("WikiText", "not available", str(error))
    return Check("WikiText", f"can be downloaded from {hub_endpoint()}")


def _package(subject: str, package: str) -> Check:
    try:
        return Check(subject, f"{package} {importlib.metadata.version(package)}")
    except importlib.metadata.PackageNotFoundError:
        return Check(subject, f"{package} is not installed", f"pip install {package}")
