"""The held-out split: a seeded share of the documents, never none and never all."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_texts import SENTENCE, written

from tinyllm import train
from tinyllm.config import DataConfig
from tinyllm.presets import get_preset
from tinyllm.text.holdout import HELD_OUT, choose_documents, held_out_documents, split_documents
from tinyllm.text.prepared import prepare


@given(st.integers(2, 5000), st.floats(0, 0.5), st.integers(0, 1000))
def test_a_hundredth_of_the_articles_is_held_out_but_never_none_nor_all(count, fraction, seed):
    chosen = held_out_documents(count, fraction, seed)
    assert chosen <= set(range(count))
    assert 1 <= len(chosen) < count
    assert len(chosen) == 1 or abs(len(chosen) - count * fraction) <= 0.5
    assert held_out_documents(count, fraction, seed) == chosen


def test_every_article_may_be_held_out():
    counts = Counter(index for seed in range(2000) for index in held_out_documents(10, 0.2, seed))
    assert set(counts) == set(range(10))
    assert all(abs(count - 400) < 5 * math.sqrt(400 * 0.8) for count in counts.values())


@pytest.mark.parametrize("text", ["one two three four five " * 20 + "\n", "没有空格的文字" * 30, "x y"])
def test_a_single_document_gives_its_last_tenth(tmp_path, home, text):
    path = tmp_path / "one.txt"
    path.write_text(text, encoding="utf-8")
    data = prepare(DataConfig(data=str(path)), 50_257, progress=False)
    parts = [data.tokenizer.decode(data.splits[split].tokens[1:]) for split in ("train", HELD_OUT)]
    assert "".join(parts) == text
    assert 1 <= len(parts[1]) <= max(2, len(text) // 10 + 7)
    assert not (" " in text and parts[0][-1:].isalpha() and parts[1][:1].isalpha()), "a word was cut"


def test_a_run_can_be_trained_on_a_single_line(tmp_path, home):
    config = get_preset("quickstart").replace(
        data=written(tmp_path, SENTENCE * 500), run_folder=tmp_path / "run", max_iterations=2, batch_size=1,
        evaluation_blocks=1,
    )  # fmt: skip
    assert train(config, progress=False).finished


@given(st.lists(st.text(), min_size=2, max_size=30), st.floats(0, 0.5), st.integers(0, 1000))
def test_every_document_is_on_one_side_in_its_order(documents, fraction, seed):
    count = len(documents)
    chosen = held_out_documents(count, fraction, seed)
    held_out = list(choose_documents(documents, count, fraction, seed, True))
    rest = list(choose_documents(documents, count, fraction, seed, False))
    assert held_out == [documents[index] for index in sorted(chosen)]
    assert rest == [documents[index] for index in range(count) if index not in chosen]
    for side, expected in ((True, held_out), (False, rest)):
        assert list(split_documents(documents, count, fraction, seed, side)) == expected


def test_a_single_document_is_cut_at_a_line_end_or_space_before_its_last_tenth():
    document = "one two three four\nfive six seven eight nine ten"
    first, rest = (list(split_documents([document], 1, 0.01, 0, side)) for side in (False, True))
    assert first == ["one two three four\nfive six seven eight"]
    assert rest == [" nine ten"]
