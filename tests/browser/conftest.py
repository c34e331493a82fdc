"""A real JupyterLab on this machine alone, and a headless Chromium that looks at it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from debian_chromium import chromium
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = ROOT / "notebooks"
NAMES = ("01_tokenization", "07_sampling")
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight are drawn too
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/themes": {"adaptive-theme": True},  # light or dark, as the page asks for
}
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)"}  # else JupyterLab asks for one
STEPS = 400 if os.environ.get("TINYLLM_SCREENSHOTS") else 4  # README shows a model that has learned
TRAINED = {  # the widgets of 00 and 07, without their chapters' minutes of training
    "run": f"""
import tinyllm
from tinyllm.course.widgets import AttentionViewer, SamplingPlayground, TrainingDashboard
settings = {{"max_iterations": {STEPS}, "evaluation_interval": {STEPS}, "progress": False}}
run = tinyllm.train("quickstart", run_folder="trained", **settings)
""",
    "dashboard": """
settings = {"max_iterations": 400, "evaluation_interval": 50}
TrainingDashboard("quickstart", seed=1, run_folder="watched", lines={"entropy floor": 0.31}, **settings)
""",
    "playground": 'SamplingPlayground(run, " = Agatha")',
    "viewer": 'AttentionViewer(run, " = Agatha Otterford = \\n\\n Agatha Otterford", 1, 6)',
}
SMALL = {  # a notebook that takes seconds
    "widget": """
from tinyllm import SubWordTokenizer
from tinyllm.course.widgets import TokenExplorer
from tinyllm.text import tinywiki
tokenizer = SubWordTokenizer.train([article.text for article in tinywiki.articles("train")[:50]], vocab_size=300)
TokenExplorer(tokenizer, "The lowest Quillfeather swims in the naïve River Marl. 🙂")
""",
    "chart": """
from tinyllm.plots import bars
bars({"one": 1, "two": 2, "three": 3}, "A chart", "a unit")
""",
    "verdicts": """
import torch
from tinyllm.course import check

def causal_mask(length):
    return torch.ones(length, length).tril() == 1

causal_mask = check("attention.causal_mask", causal_mask)
causal_mask = check("attention.causal_mask", lambda length: ~causal_mask(length))
""",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab with its own configuration, over copies of the notebooks."""
    chromium()
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    for name in NAMES:
        shutil.copy(NOTEBOOKS / f"{name}.ipynb", folder / "notebooks")
    for name, sources in (("small", SMALL), ("trained", TRAINED)):
        made = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
        made.cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources.values()]
        nbformat.write(made, folder / "notebooks" / f"{name}.ipynb")
    for name, settings in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    private = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    environment = os.environ | {variable: str(folder / name) for variable, name in private.items()}
    environment["PYTHONPATH"] = str(ROOT)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder / 'notebooks'}"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _answers(f"{address}/api"):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=2).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")  # playwright keeps an event loop running, which must not meet the notebooks' tests
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_notebook(lab, browser):
    """Opens a notebook in a new tab. Nothing may be an error on its console."""
    pages: list[Page] = []
    errors: list[str] = []

    def open_notebook(name: str, scheme: str = "light", width: int = 1200) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 1300}, color_scheme=scheme)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(page)
        page.goto(f"{lab}/lab/workspaces/t/tree/{name}.ipynb?reset")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)  # else "Run" may find no kernel yet
        return page

    yield open_notebook
    for page in pages:
        page.close()
    # of a widget that an earlier kernel has shown
    assert [error for error in errors if "widget model not found" not in error] == []
