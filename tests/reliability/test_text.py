"""Text as it comes: empty, endless, torn, in strange bytes. It is read as it stands, or refused in one clear line."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyllm import CharacterTokenizer, SubWordTokenizer, WordTokenizer, train
from tinyllm.__main__ import main
from tinyllm.config import DataConfig
from tinyllm.presets import get_preset
from tinyllm.text.prepared import prepare
from tinyllm.text.sources import load_corpus

MILLION = 1_000_000
SENTENCE = "A cat sat on the mat, and the dog did not mind. "


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "home"))


def written(folder: Path, content: str | bytes) -> str:
    path = folder / "text.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def prepared_text(data: str, tokenizer: str = "bpe") -> str:
    """What is left of a text once it was prepared: all ids decoded, without the separators."""
    found = prepare(DataConfig(data=data, tokenizer=tokenizer), 300 if tokenizer == "bpe" else 50_257, progress=False)
    end = found.tokenizer.end_of_text_id
    documents = []
    for split in found.splits.values():
        ids = split.tokens.tolist()
        starts = [*split.starts.tolist(), len(ids)]
        for start, stop in pairwise(starts):
            assert ids[start] == end
            documents.append(found.tokenizer.decode(ids[start + 1 : stop]))
    return "".join(documents)


GOOD = {
    "two characters": ("ab", "ab"),
    "no newline at all": (SENTENCE * 50, SENTENCE * 50),
    "one line of 5 MB": (SENTENCE * 110_000 + "\n", SENTENCE * 110_000 + "\n"),
    "Windows newlines": ("one line\r\nand another\r\n" * 50, "one line\nand another\n" * 50),
    "old Mac newlines": ("one line\rand another\r" * 50, "one line\nand another\n" * 50),
    "a byte-order mark": (b"\xef\xbb\xbf" + SENTENCE.encode() * 50, SENTENCE * 50),
    "NUL": ("a\0b\0\0 c\n" * 50, "a\0b\0\0 c\n" * 50),
    "separators among words": ("<|endoftext|>a cat" * 50, "<|endoftext|>a cat" * 50),
    "other line ends": ("a\x0bb\x0cc\x1cd\x85e\u2028f\n" * 50, "a\x0bb\x0cc\x1cd\x85e\u2028f\n" * 50),
    "all of Unicode": (
        "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code not in (0x0D, 0xFEFF)),
    )
    * 2,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("tokenizer", ["bpe", "gpt2"])
def test_it_is_read_as_it_stands(name, tokenizer, tmp_path, home):
    content, expected = GOOD[name]
    assert prepared_text(written(tmp_path, content), tokenizer) == expected


BAD = {
    "empty": (b"", "there is no text"),
    "only a byte-order mark": (b"\xef\xbb\xbf", "there is no text"),
    "only newlines": (b"\n" * 1000, "there is no text"),
    "only spaces": (b" " * 1000, "there is no text"),
    "one character": (b"a", "no text"),
    "only separators": (b"<|endoftext|>" * 100, "no text to learn"),
    "Latin-1": ("café\n" * 10, "byte 3, in line 1"),
    "UTF-16": ("a cat\n".encode("utf-16"), "byte 0, in line 1"),
    "a surrogate": (b"a cat \xed\xa0\x80\n", "byte 6, in line 1"),
    "a character cut off at the end": ("a cat é".encode()[:-1], "byte 6, in line 1"),
    "a picture": (bytes(range(256)) * 10, "is not UTF-8 text"),
}


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused_in_one_line(name, tmp_path, home, capsys):
    content, reason = BAD[name]
    path = written(tmp_path, content.encode("latin-1") if isinstance(content, str) else content)
    assert main(["train", "quickstart", "--data", path, "--run-folder", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert reason in error
    assert "text.txt" in error
    assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.timeout(120)
def test_a_hundred_thousand_short_documents(tmp_path, home):
    titles = "".join(f"\n = {number} = \n\n a cat \n" for number in range(100_000))
    found = prepare(DataConfig(data=written(tmp_path, titles), tokenizer="bpe"), 300, progress=False)
    assert {split: len(part.starts) for split, part in found.splits.items()} == {"train": 99_000, "held_out": 1_000}


def test_a_run_can_be_trained_on_a_single_line(tmp_path, home):
    config = get_preset("quickstart").replace(
        data=written(tmp_path, SENTENCE * 500), run_folder=tmp_path / "run", max_iterations=2, batch_size=1,
        evaluation_blocks=1,
    )  # fmt: skip
    assert train(config, progress=False).finished


# A program that is quadratic in any of these would run for hours, not for seconds.
LONG = {
    "one letter": "a" * MILLION,
    "two letters in turn": "ab" * MILLION,
    "spaces": " " * MILLION,
    "spaces between letters": ("a" + " " * 1000) * 5000,
    "newlines": "\n" * MILLION,
    "spaces and newlines in turn": " \n" * MILLION,
    "signs": "=" * MILLION,
    "apostrophes": "'" * MILLION,
    "digits": "7" * MILLION,
    "letters without a space": "".join(random.Random(0).choices("acgt", k=MILLION)),
    "Chinese": "".join(map(chr, random.Random(0).choices(range(0x4E00, 0x9FA5), k=MILLION))),
    "separators": "<|endoftext|>" * 100_000,
    "pieces of separators": "<|endoftext" * 100_000,
    "NUL": "\0" * MILLION,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", LONG)
def test_encoding_a_long_run_of_anything_takes_seconds(name, gpt2_tokenizer):
    text = LONG[name]
    ids = gpt2_tokenizer.encode(text)
    assert gpt2_tokenizer.decode(ids) == text
    assert gpt2_tokenizer.encode_batch([text])[0] == ids
    assert tiktoken.get_encoding("gpt2").decode(ids) == text
    characters = CharacterTokenizer(text)
    assert len(characters.encode(text)) == len(text)
    words = WordTokenizer.train(text)
    assert len(words.encode(text)) == len(text.split()) + text.count("\n")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["one letter", "spaces", "spaces and newlines in turn", "pieces of separators", "NUL"])
def test_learning_from_a_long_run_of_anything_takes_seconds(name, tmp_path):
    text = LONG[name][:MILLION]
    tokenizer = SubWordTokenizer.train(text, 300)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    path = tmp_path / "text.txt"
    path.write_text(text, newline="")
    assert SubWordTokenizer.train(path, 300).fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("spaces", [MILLION, 3 * MILLION])
def test_more_spaces_before_a_letter_than_can_be_matched_are_refused_in_one_line(spaces, tmp_path, home, capsys):
    data = written(tmp_path, " " * spaces + "a\n" + SENTENCE * 10)
    assert main(["prepare", "wikitext103", "--data", data]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.bin"))


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_of_a_file_comes_back_from_its_documents(text, tmp_path_factory):
    path = Path(written(tmp_path_factory.mktemp("any"), text))
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = "".join(load_corpus(str(path)).documents("train"))
    assert found == "" if not expected.strip() else found.rstrip("\n") == expected.rstrip("\n")
