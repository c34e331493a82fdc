"""A data set of the Hub by its name: the real `datasets` streams it from a server on this machine."""

import json
import os
import subprocess
import sys

import pytest
from hub_server import hub, parquet

from tinyllm.text.hub_datasets import is_hub_name

NAME = "roneneldan/TinyStories"
STORIES = [f"Once upon a time there were {number} foxes.\nThe end." for number in range(600)]
SPLITS = {"train": STORIES, "validation": ["One.<|endoftext|>Two.", None, "Three."], "test_hard": ["Four."]}
README = """---
configs:
- config_name: default
  data_files:
{0}
- config_name: second
  data_files:
  - split: everything
    path: second.parquet
- config_name: torn
  data_files:
  - split: train
    path: torn.parquet
---
"""

# huggingface_hub reads HF_ENDPOINT when it is imported, so the client is a process of its own: one for all names.
CLIENT = """
import json, sys, time
time.sleep = lambda seconds: None  # datasets waits for seconds between its attempts
from tinyllm import load_corpus
found = {}
for name in sys.argv[2:]:
    name, _, text_field = name.partition(" ")
    try:
        corpus = load_corpus(name, text_field or "text")
        found[f"{name} {text_field}".strip()] = {split: list(corpus.documents(split)) for split in corpus.splits}
    except (OSError, ValueError) as error:
        found[f"{name} {text_field}".strip()] = f"{type(error).__name__}: {error}"
json.dump(found, open(sys.argv[1], "w", encoding="utf-8"))
"""


def files() -> dict[str, bytes]:
    splits = "\n".join(f"  - split: {split}\n    path: data/{split}.parquet" for split in SPLITS)
    whole = parquet([f"{number} foxes" for number in range(10_000)])
    return {
        **{f"data/{split}.parquet": parquet(rows) for split, rows in SPLITS.items()},
        "second.parquet": parquet(["Five."], column="story"),
        "torn.parquet": whole[:100] + bytes(20_000) + whole[20_100:],  # its end, which is read first, is in order
        "README.md": README.format(splits).encode(),
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """What load_corpus makes of each name."""
    names = [NAME, f"{NAME}:default", f"{NAME}@main", f"{NAME}::test_hard", f"{NAME}:second:everything story"]
    wrong = [f"{NAME} story", f"{NAME}:third", f"{NAME}::dev", f"{NAME}:second", f"{NAME}:torn", "roneneldan/TinyStory"]
    folder = tmp_path_factory.mktemp("hub")
    target = folder / "result.json"
    with hub(files(), repository=NAME) as server:
        environment = os.environ | {"HF_ENDPOINT": server.address, "HF_HOME": str(folder / "hf")}
        command = [sys.executable, "-c", CLIENT, target, *names, *wrong]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(target.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [NAME, f"{NAME}:default", f"{NAME}@main"])
def test_a_row_is_a_document_and_the_splits_are_the_hubs(found, name):
    assert found[name] == {"train": STORIES, "validation": ["One.", "Two.", "Three."]}


def test_a_split_that_is_named_is_the_training_text(found):
    assert found[f"{NAME}::test_hard"] == {"train": ["Four."]}
    assert found[f"{NAME}:second:everything story"] == {"train": ["Five."]}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (f"{NAME} story", "ValueError: .* no column 'story' but ['text']; .*--text-field"),
        (f"{NAME}:third", "ConnectionError: .*third.*second"),
        (f"{NAME}::dev", "ValueError: .*no split 'dev' .*'test_hard'.*TinyStories::train"),
        (f"{NAME}:second", "ValueError: .*no split 'train' .*'everything'.*TinyStories:second:everything"),
        (f"{NAME}:torn", "ConnectionError: could not read roneneldan/TinyStories:torn to its end .*--data"),
        ("roneneldan/TinyStory", "FileNotFoundError: .*roneneldan/TinyStory (no file or folder.*--data"),
    ],
)
def test_what_is_not_there_is_one_line(found, name, wanted):
    kind, *parts = wanted.split(".*")
    assert found[name].startswith(kind)
    assert all(part in found[name] for part in parts), found[name]
    assert "\n" not in found[name]


def test_names_of_data_sets():
    for name in ("a/b", "a-1/b.c_d", "a/b:c", "a/b:c:d", "a/b::d", "a/b@0f1e", "a/b@0f1e:c:d"):
        assert is_hub_name(name)
    for name in ("a", "a/b/c", "/a/b", "a:b", "a/", "https://huggingface.co/datasets/a/b", "a/b c", "C:\\a/b"):
        assert not is_hub_name(name)
