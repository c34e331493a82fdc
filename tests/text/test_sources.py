"""From a name to a text, or an error that names the near ones."""

import re

import pytest
from local_texts import read, write

from tinyllm.text.sources import load_corpus


@pytest.mark.parametrize(
    ("name", "near"), [("wikitext-2-raw", "wikitext-2-raw-v1"), ("tinywikki", "tinywiki"), ("wikitext-103v1", "103-v1")]
)
def test_a_name_that_is_nothing_names_its_neighbours(name, near):
    with pytest.raises(FileNotFoundError, match=re.escape(repr(name))) as error:
        load_corpus(name)
    assert near in str(error.value).replace(name, "", 1)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file or folder.*nowhere"):
        load_corpus(str(tmp_path / "nowhere.txt"))


def test_the_environments_text_is_read_instead_of_the_hub(tmp_path, monkeypatch, sample_text):
    other = write(tmp_path / "other.txt", "another text\n")
    monkeypatch.setenv("TINYLLM_DATA", str(sample_text))
    assert list(load_corpus("wikitext-103-raw-v1").documents("train")) == read(sample_text)
    assert read(other) == ["another text\n"]  # a path of the user's own goes before
    assert load_corpus("tinywiki").identity.startswith("tinywiki")
    monkeypatch.setenv("TINYLLM_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_corpus("wikitext-103-raw-v1")
    monkeypatch.setenv("TINYLLM_DATA", "tinywiki")
    assert "test" in load_corpus("wikitext-103-raw-v1").splits
