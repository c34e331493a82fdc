"""The held-out split: a seeded share of the text by size, never none and never all."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_texts import SENTENCE, written

from tinyllm import train
from tinyllm.__main__ import main
from tinyllm.config import DataConfig
from tinyllm.presets import get_preset
from tinyllm.text.holdout import HELD_OUT, HoldOut, cut_document, document_size, hold_out
from tinyllm.text.prepared import PreparedData, prepare
from tinyllm.text.sources import load_corpus


def sample(count: int, fraction: float, seed: int) -> HoldOut:
    """A share of the documents, whatever their sizes."""
    return HoldOut(frozenset(random.Random(seed).sample(range(count), max(1, round(count * fraction)))))


def share(sizes: list[int], chosen: HoldOut) -> float:
    """How much of the text is held out."""
    cut = 0 if chosen.cut is None else sizes[chosen.cut] * chosen.share
    return (sum(sizes[index] for index in chosen.whole) + cut) / sum(sizes)


@pytest.mark.parametrize("name", ["tinywiki", "tinywiki-full"])
def test_tinywikis_held_out_articles_are_a_sample_of_one_in_a_hundred(name):
    """The numbers of the course depend on which ones these are."""
    sizes = [document_size(document) for document in load_corpus(name).documents("train")]
    assert len(hold_out(sizes, 0.01, 0).whole) == 160
    for fraction in (0.001, 0.01, 0.2, 0.5):
        for seed in range(3):
            assert hold_out(sizes, fraction, seed) == sample(len(sizes), fraction, seed)


def test_so_are_those_of_articles_as_long_as_wikitexts():
    draw = random.Random(0)
    sizes = [round(draw.lognormvariate(9.5, 0.7)) for _ in range(28_475)]
    assert hold_out(sizes, 0.01, 0) == sample(28_475, 0.01, 0)


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=300), st.floats(0, 0.5), st.integers(0, 1000))
def test_about_the_wanted_share_is_held_out_however_the_text_is_cut_up(sizes, fraction, seed):
    chosen = hold_out(sizes, fraction, seed)
    assert chosen == hold_out(sizes, fraction, seed)
    assert chosen.whole <= set(range(len(sizes)))
    assert chosen.cut not in chosen.whole
    wanted = max(fraction, min(0.1, 2000 / sum(sizes)))
    assert (
        0.39 * wanted <= share(sizes, chosen) <= max(min(2.51 * wanted, wanted + 0.051), min(0.25, 2000 / sum(sizes)))
    )
    assert chosen.cut is None or 0 < chosen.share < 1


SIZES = {
    "a note beside a transcript": ([3_000, 120_000], 0.01, 0.025),
    "one text of 20 KB": ([20_000], 0.1, 0.1),
    "two of 10 KB": ([10_000, 10_000], 0.1, 0.1),
    "five of 4 KB": ([4_000] * 5, 0.1, 0.1),
    "300 tiny ones": ([20] * 300, 0.09, 0.11),
    "three books": ([1_000_000] * 3, 0.0099, 0.0101),
    "rows beside novels": ([20] * 1000 + [500_000] * 10, 0.004, 0.025),
    "a thousand like one another": ([2_000, 3_000] * 500, 0.0079, 0.0121),
    "one giant among many": ([1_000] * 1000 + [10**9], 0.004, 0.025),
}


@pytest.mark.parametrize("name", SIZES)
def test_it_goes_by_size_not_by_count(name):
    sizes, least, most = SIZES[name]
    for order in (sizes, sizes[::-1]):
        for seed in range(10):
            assert least <= share(order, hold_out(order, 0.01, seed)) <= most


def test_every_document_may_be_held_out():
    counts = Counter(index for seed in range(500) for index in hold_out([300] * 100, 0.1, seed).whole)
    assert set(counts) == set(range(100))


@given(st.lists(st.text(), min_size=1, max_size=30), st.data())
def test_every_document_is_on_one_side_in_its_order(documents, data):
    indices = st.integers(0, len(documents) - 1)
    whole = data.draw(st.frozensets(indices))
    cut = data.draw(st.none() | indices.filter(lambda index: index not in whole))
    chosen = HoldOut(whole, cut, 0.3)
    rest, held_out = (list(chosen.side(documents, side)) for side in (False, True))
    parts = [cut_document(document, 0.3) for document in documents]
    assert held_out == [parts[i][1] if i == cut else documents[i] for i in sorted({*whole, cut} - {None})]
    assert rest == [parts[i][0] if i == cut else documents[i] for i in range(len(documents)) if i not in whole]


@given(st.text(min_size=1), st.floats(0.001, 0.9))
def test_the_two_parts_of_a_document_are_the_document(document, part):
    assert "".join(cut_document(document, part)) == document


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("one two three four\nfive six seven eight nine ten", "five six seven eight nine ten"),
        ("one two three four five six seven eight nine ten", " nine ten"),
        ("name: " + "x" * 5000, "x" * 501),  # the only space is far away
        ("没有空格的文字" * 10, "没有空格的文字"),
        ("text " * 100 + "\n" * 5000, " text" * 11 + " " + "\n" * 5000),  # blank lines at the end are no text
    ],
)
def test_a_document_is_cut_at_a_line_end_or_a_space_that_is_near(document, expected):
    assert cut_document(document, 0.1)[1] == expected


def prepared(path: Path | str, tokenizer: str = "bpe") -> PreparedData:
    return prepare(DataConfig(data=str(path), tokenizer=tokenizer), 300, progress=False)


@pytest.mark.parametrize("text", ["one two three four five " * 20 + "\n", "没有空格的文字" * 30, "x y"])
@pytest.mark.parametrize("tokenizer", ["gpt2", "bpe"])
def test_of_a_single_document_the_end_is_held_out(tmp_path, home, text, tokenizer):
    data = prepared(written(tmp_path, text), tokenizer)
    parts = [data.tokenizer.decode(data.splits[split].tokens[1:]) for split in ("train", HELD_OUT)]
    assert "".join(parts) == text
    assert 1 <= len(parts[1]) <= max(2, len(text) // 10 + 7)
    assert not (" " in text and parts[0][-1:].isalpha() and parts[1][:1].isalpha()), "a word was cut"


@pytest.mark.parametrize("tokenizer", ["gpt2", "bpe"])
def test_a_note_beside_a_transcript_is_not_all_that_is_trained_on(tmp_path, home, tokenizer):
    words = "the people of this town said what they had seen of it in many words that night".split()
    draw = random.Random(0)
    for name, size in (("note", 3_000), ("transcript", 120_000)):
        text = ""
        while len(text) < size:
            text += " ".join(draw.choices(words, k=10)) + ".\n"
        (tmp_path / f"{name}.txt").write_text(text)
    splits = prepared(tmp_path, tokenizer).splits
    train, held_out = len(splits["train"].tokens), len(splits[HELD_OUT].tokens)
    assert 0.008 < held_out / (train + held_out) < 0.03


def test_a_run_can_be_trained_on_a_single_line(tmp_path, home):
    config = get_preset("quickstart").replace(
        data=written(tmp_path, SENTENCE * 500), run_folder=tmp_path / "run", max_iterations=2, batch_size=1,
        evaluation_blocks=1,
    )  # fmt: skip
    assert train(config, progress=False).finished


def test_a_text_of_five_words_is_refused_in_one_line(tmp_path, home, capsys):
    path = written(tmp_path, "one two three four five")
    assert main(["train", "quickstart", "--data", path, "--run-folder", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "use more text or a smaller context_length" in error
    assert error.count("\n") == 1


def test_a_dialogue_is_not_cut_but_passed_over_unless_all_are_too_long():
    sizes = [100] * 30 + [90_000] * 3
    for seed in range(20):
        chosen = hold_out(sizes, 0.01, seed, [1] * 33)
        assert chosen.cut is None
        assert chosen.whole and max(chosen.whole) < 30
    assert any(hold_out(sizes, 0.01, seed).cut is not None for seed in range(20))
    assert hold_out([90_000] * 3, 0.01, 0, [1] * 3).cut is not None


@pytest.mark.parametrize("texts", [[219_000], [17_000], [90_000] * 2, [500] * 7 + [400_000] * 2])
@pytest.mark.parametrize("count", [20, 250, 2000])
def test_dialogues_beside_a_book_give_their_own_share_and_the_book_gives_its_end(texts, count):
    sizes, kinds = texts + [47] * count, [0] * len(texts) + [1] * count
    for seed in range(20):
        chosen = hold_out(sizes, 0.01, seed, kinds)
        dialogues = sum(kinds[index] for index in chosen.whole)
        assert 0.009 * count <= dialogues <= max(0.026 * count, min(0.25 * count, 2000 / 47))
        assert chosen.cut is None or not kinds[chosen.cut]
        assert 0.0039 <= share(sizes, chosen) <= max(0.025, 2 * 2000 / sum(sizes))


def test_where_all_dialogues_are_too_long_the_books_beside_them_are_held_out_alone():
    for seed in range(20):
        chosen = hold_out([90_000] * 4, 0.01, seed, [0, 0, 1, 1])
        assert (chosen.whole, chosen.cut in (0, 1)) == (frozenset(), True)
        assert share([90_000] * 4, chosen) * 360_000 == pytest.approx(2000)


@given(st.lists(st.tuples(st.integers(1, 1_000_000), st.booleans()), min_size=1, max_size=100), st.integers(0, 1000))
def test_no_dialogue_is_cut_beside_a_text(documents, seed):
    sizes, dialogues = zip(*documents, strict=True)
    chosen = hold_out(sizes, 0.01, seed, dialogues)
    assert chosen.whole or chosen.cut is not None
    assert chosen.whole != set(range(len(sizes))) or len(sizes) == 1
    assert chosen.cut is None or not dialogues[chosen.cut] or all(dialogues)


@pytest.mark.parametrize("tokenizer", ["gpt2", "bpe"])
def test_a_book_beside_dialogues_does_not_hold_them_out(tmp_path, home, tokenizer):
    """Read once with GPT-2's vocabulary, twice where one is learned."""
    messages = [{"role": "user", "content": "a cat ?"}, {"role": "assistant", "content": "my aunt ."}]
    rows = ["a cat sleeps and my aunt sings .\n" * 2000, *[messages] * 50]
    (tmp_path / "talk.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    config = DataConfig(data=str(tmp_path / "talk.jsonl"), tokenizer=tokenizer, dialogues=True)
    data = prepare(config, 300, progress=False)
    answers = {split: int((data.splits[split].tokens == data.turns.assistant).sum()) for split in data.splits}
    assert answers["train"] + answers[HELD_OUT] == 50
    assert 1 <= answers[HELD_OUT] <= 12
    assert 2000 < data.splits[HELD_OUT].size < 2500
