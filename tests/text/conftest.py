"""Fixtures that several tests of text share."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from tinyllm.config import DataConfig
from tinyllm.text import gpt2_vocabulary, tinywiki
from tinyllm.text.articles import Article
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tinywiki import generate


@pytest.fixture(scope="session")
def gpt2_files() -> dict[str, Path]:
    """GPT-2's two vocabulary files, where conftest put them."""
    cache = Path(os.environ["TIKTOKEN_CACHE_DIR"])
    return {
        name: cache / hashlib.sha1((gpt2_vocabulary._GPT2_VOCABULARY + name).encode()).hexdigest()
        for name in ("vocab.bpe", "encoder.json")
    }


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TINYLLM_HOME", str(folder))
    return folder


@pytest.fixture
def config(sample_text) -> DataConfig:
    return DataConfig(data=str(sample_text))


@pytest.fixture(scope="session")
def full_articles() -> tuple[Article, ...]:
    return tuple(generate(4000, "statistics", full=True))


@pytest.fixture(scope="session")
def some(full_articles) -> dict[bool, tuple[Article, ...]]:
    """A few thousand TinyWiki articles, short (False) and full (True)."""
    return {False: tinywiki.articles("train")[:6000], True: full_articles}


@pytest.fixture(scope="session")
def tinywiki_tokenizer() -> SubWordTokenizer:
    """TinyWiki's own vocabulary, as in the quickstart."""
    return SubWordTokenizer.train([article.text for article in tinywiki.articles("train")], 1024)


@pytest.fixture(scope="session")
def streams(tinywiki_tokenizer) -> dict[str, list[np.ndarray]]:
    """Each split's TinyWiki articles as ids, with both separators."""
    end = tinywiki_tokenizer.end_of_text_id
    return {
        split: [
            np.array([end, *ids, end])
            for ids in tinywiki_tokenizer.encode_batch([article.text for article in tinywiki.articles(split)])
        ]
        for split in tinywiki.SPLITS
    }


@pytest.fixture
def few_articles(monkeypatch):
    """Call it with the number of TinyWiki's training articles."""

    def shrink(count: int) -> None:
        monkeypatch.setattr(tinywiki, "SPLITS", {"train": count, "validation": 3, "test": 2})
        tinywiki.articles.cache_clear()

    yield shrink
    tinywiki.articles.cache_clear()
