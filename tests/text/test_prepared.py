"""From documents to ids: the right ones, and a cache that is whole or absent."""

import dataclasses
import gc
import json
import os
import shutil
import subprocess
import sys
import weakref
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from local_texts import SENTENCE, written
from token_splits import documents_of

import tinyllm.text.prepared
import tinyllm.text.tokenized
from tinyllm.__main__ import main
from tinyllm.config import DataConfig
from tinyllm.text.corpus import Corpus
from tinyllm.text.holdout import document_size, hold_out
from tinyllm.text.prepared import HELD_OUT, PreparedData, prepare
from tinyllm.text.sources import load_corpus
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenized import text_size, tokenize
from tinyllm.text.tokenizer import CharacterTokenizer

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def no_tokenizing(monkeypatch):
    """Call it, and from then on nothing may be tokenised."""

    def fail(*_):
        raise AssertionError("the text was tokenised again")

    def switch() -> None:
        monkeypatch.setattr(SubWordTokenizer, "encode_documents", fail)
        monkeypatch.setattr(SubWordTokenizer, "train", fail)

    return switch


def test_ids_are_tiktokens_with_the_separator_before_each_document(config):
    data = prepare(config, 50_257, progress=False)
    encoding = tiktoken.get_encoding("gpt2")
    documents = list(load_corpus(config.data).documents("train"))
    wanted = [[encoding.eot_token, *encoding.encode_ordinary(document)] for document in documents]
    held_out = documents_of(data.splits[HELD_OUT])
    assert len(held_out) == 1
    rest = [ids for ids in wanted if ids != held_out[0]]
    assert documents_of(data.splits["train"]) == rest
    assert len(rest) == 3
    assert data.splits["train"].tokens.dtype == np.uint16


@pytest.mark.parametrize("tokenizer", ["gpt2", "bpe"])
@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.parametrize("fraction", [0.01, 0.4])
@pytest.mark.parametrize("batch", [50, 1 << 18])
def test_the_files_are_those_of_encoding_each_document_alone(home, monkeypatch, tokenizer, count, fraction, batch):
    texts = [f" = {index} = \n\n" + "a cat, é\u00a0本 <|endoftext|>\n" * (index % 5 + 1) for index in range(count)]
    splits = {"train": lambda: iter(texts), "validation": lambda: iter(texts[:3])}
    monkeypatch.setattr(tinyllm.text.prepared, "load_corpus", lambda *_: Corpus("some", splits))
    monkeypatch.setattr(tinyllm.text.tokenized, "_BATCH", batch)
    data = prepare(DataConfig(data="some", tokenizer=tokenizer, validation_fraction=fraction), 300, progress=False)
    meta = json.loads((data.folder / "meta.json").read_text(encoding="utf-8"))
    assert list(meta["splits"]) == ["train", HELD_OUT, "validation"]
    assert len(list(data.folder.iterdir())) == 2 * 3 + 2
    chosen = hold_out([document_size(text) for text in texts], fraction, 0)
    for split, counts in meta["splits"].items():
        held_out = split == HELD_OUT
        documents = texts[:3] if split == "validation" else list(chosen.side(texts, held_out))
        ids = [[data.tokenizer.end_of_text_id, *data.tokenizer.encode(document)] for document in documents]
        assert (data.folder / f"{split}.bin").read_bytes() == np.concatenate(ids).astype(np.uint16).tobytes()
        starts = np.load(data.folder / f"{split}-starts.npy")
        assert starts.dtype == np.int64
        assert starts.tolist() == [sum(map(len, ids[:index])) for index in range(len(ids))]
        assert counts == {
            "documents": len(documents),
            "tokens": sum(map(len, ids)),
            "words": sum(len(document.split()) + document.count("\n") for document in documents),
            "bytes": sum(len(document.encode("utf-8")) for document in documents),
        }


def test_a_split_without_text_is_refused_by_its_name(home, monkeypatch):
    splits = {"train": lambda: iter(["one\n", "two\n"]), "validation": lambda: iter(())}
    monkeypatch.setattr(tinyllm.text.prepared, "load_corpus", lambda *_: Corpus("some", splits))
    with pytest.raises(ValueError, match="the validation split has no text"):
        prepare(DataConfig(data="some"), 300, progress=False)
    assert not list(home.rglob("*.bin"))


def test_a_lone_surrogate_is_the_error_it_is_for_one_text(home, monkeypatch):
    texts = ["good\n"] * 50 + ["bad \ud800\n"] + ["good\n"] * 50
    monkeypatch.setattr(tinyllm.text.prepared, "load_corpus", lambda *_: Corpus("some", {"train": lambda: iter(texts)}))
    with pytest.raises(ValueError, match=r"^character 4 of the text is the lone surrogate '\\ud800'"):
        prepare(DataConfig(data="some"), 300, progress=False)
    assert not list(home.rglob("*.bin"))


def test_a_text_that_breaks_off_while_it_is_read_leaves_nothing(home, tmp_path, monkeypatch):
    monkeypatch.setattr(tinyllm.text.tokenized, "_BATCH", 100)
    path = written(tmp_path, b"\n = A = \n\n a cat \n" * 200 + b"\xff")
    with pytest.raises(ValueError, match="is not UTF-8 text: invalid start byte at byte"):
        prepare(DataConfig(data=path), 300, progress=False)
    assert not list(home.rglob("*.bin"))


def test_words_and_bytes_are_those_of_the_text(config):
    data = prepare(config, 50_257, progress=False)
    text = Path(config.data).read_bytes()
    lines = text.decode("utf-8").split("\n")[:-1]
    words = sum(len(line.split()) + 1 for line in lines)  # one end of line each, as WikiText's papers count
    train, held_out = data.splits["train"], data.splits[HELD_OUT]
    assert train.words + held_out.words == words
    assert train.size + held_out.size == len(text)
    documents = list(load_corpus(config.data).documents("train"))
    assert (held_out.words, held_out.size) in [text_size([document]) for document in documents]


def test_a_vocabulary_learned_from_the_text_sees_only_the_training_articles(config):
    data = prepare(dataclasses.replace(config, tokenizer="bpe"), 400, progress=False)
    assert data.tokenizer.vocab_size == 400
    documents = list(load_corpus(config.data).documents("train"))
    found = [data.tokenizer.decode(ids[1:]) for ids in documents_of(data.splits["train"])]
    held_out = [data.tokenizer.decode(ids[1:]) for ids in documents_of(data.splits[HELD_OUT])]
    assert [document for document in documents if document not in held_out] == found
    assert len(held_out) == 1
    assert held_out[0] in documents
    assert data.tokenizer.fingerprint == SubWordTokenizer.train(found, 400).fingerprint
    assert data.tokenizer.fingerprint != SubWordTokenizer.train(documents, 400).fingerprint
    assert all(ids[0] == data.tokenizer.end_of_text_id for ids in documents_of(data.splits["train"]))


def test_official_splits_stay_apart_from_training(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(f"{split} " * 50, encoding="utf-8")
    data = prepare(DataConfig(data=str(tmp_path)), 50_257, progress=False)
    assert set(data.splits) == {"train", "validation", "test"}
    for split, word in {"train": "train", "validation": "valid", "test": "test"}.items():
        assert set(data.tokenizer.decode(data.splits[split].tokens[1:]).split()) == {word}


def test_separators_written_in_the_text_are_the_documents_ends(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("before <|endoftext|> after\n" * 20, encoding="utf-8")
    data = prepare(DataConfig(data=str(path)), 50_257, progress=False)
    for split in data.splits.values():
        assert Counter(split.tokens.tolist())[data.tokenizer.end_of_text_id] == len(split.starts)
    assert sum(len(split.starts) for split in data.splits.values()) == 21


def test_in_memory_and_prepared_are_the_same(config):
    prepared = prepare(config, 50_257, progress=False)
    documents = [prepared.tokenizer.decode(ids[1:]) for ids in documents_of(prepared.splits["train"])]
    split = tokenize(iter(documents), prepared.tokenizer)
    for name in ("tokens", "starts"):
        assert np.array_equal(getattr(split, name), getattr(prepared.splits["train"], name))
        assert getattr(split, name).dtype == getattr(prepared.splits["train"], name).dtype
    assert (split.words, split.size) == (prepared.splits["train"].words, prepared.splits["train"].size)


@pytest.mark.parametrize("text", ["", "\n \n\n"])
def test_a_text_without_text_is_refused(tmp_path, text):
    path = tmp_path / "empty.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"no text in .*empty\.txt"):
        prepare(DataConfig(data=str(path)), 50_257, progress=False)


def test_a_second_call_does_not_tokenise_again(config, home, no_tokenizing):
    first = prepare(config, 50_257, progress=False)
    no_tokenizing()
    second = prepare(config, 50_257, progress=False)
    assert second.folder == first.folder
    assert second.folder.is_relative_to(home)
    assert second.tokenizer.fingerprint == first.tokenizer.fingerprint
    for split in ("train", HELD_OUT):
        assert second.splits[split].words == first.splits[split].words > 0
        assert np.array_equal(second.splits[split].tokens, first.splits[split].tokens)


def test_every_choice_that_changes_the_ids_has_a_cache_of_its_own(tmp_path, sample_text):
    path = tmp_path / "mine.raw"
    path.write_bytes(sample_text.read_bytes())
    config = DataConfig(data=str(path))
    learned = dataclasses.replace(config, tokenizer="bpe")
    folders = [
        prepare(config, 50_257, progress=False).folder,
        prepare(learned, 300, progress=False).folder,
        prepare(learned, 310, progress=False).folder,
        prepare(dataclasses.replace(config, validation_fraction=0.5), 50_257, progress=False).folder,
        prepare(dataclasses.replace(config, split_seed=1), 50_257, progress=False).folder,
    ]
    path.write_bytes(sample_text.read_bytes() + b"\n more \n")
    folders.append(prepare(config, 50_257, progress=False).folder)
    assert len(set(folders)) == len(folders)
    # Where a block begins, and the size GPT-2's vocabulary is said to have, change no id.
    begun = dataclasses.replace(config, block_begin="document")
    assert prepare(begun, 300, progress=False).folder == folders[-1]


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def damage_flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_replace(path: Path) -> None:
    """By the same file of another corpus."""
    other = path.parents[2] / "other.txt"
    other.write_text("\n = Another = \n\n text \n" * 9)
    config = DataConfig(data=str(other), tokenizer="bpe", validation_fraction=0.5)
    shutil.copy(prepare(config, 300, progress=False).folder / path.name, path)


FILES = ["train.bin", "held_out.bin", "train-starts.npy", "held_out-starts.npy", "tokenizer.json", "meta.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [damage_cut, damage_flip, damage_empty, damage_replace, Path.unlink])
def test_a_damaged_cache_is_noticed_and_made_again(config, caplog, name, damage):
    good = prepare(config, 50_257, progress=False)
    assert sorted(path.name for path in good.folder.iterdir()) == sorted(FILES)
    files = {path.name: path.read_bytes() for path in good.folder.iterdir()}
    caplog.clear()
    damage(good.folder / name)
    again = prepare(config, 50_257, progress=False)
    assert again.folder == good.folder
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == files
    assert "the prepared copy is damaged" in caplog.text
    caplog.clear()
    prepare(config, 50_257, progress=False)
    assert caplog.text == ""


@pytest.mark.parametrize("edited", ["words", "checksums", "splits", "recipe", "not an object"])
def test_an_edited_description_is_noticed(config, edited):
    good = prepare(config, 50_257, progress=False)
    tokens = good.splits["train"].tokens.copy()
    path = good.folder / "meta.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    if edited == "words":
        meta["splits"]["train"]["words"] += 1  # would change every perplexity per word
    elif edited == "checksums":
        del meta["checksums"]["train.bin"]
        damage_flip(good.folder / "train.bin")
    elif edited == "splits":
        del meta["splits"][HELD_OUT]
    elif edited == "recipe":
        meta["recipe"]["split_seed"] = 5
    else:
        meta = [meta]
    path.write_text(json.dumps(meta), encoding="utf-8")
    again = prepare(config, 50_257, progress=False)
    assert again.splits["train"].words == good.splits["train"].words
    assert np.array_equal(again.splits["train"].tokens, tokens)
    assert json.loads(path.read_text(encoding="utf-8"))["recipe"]["split_seed"] == 0


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("broken", ["encode_documents", "decode"])
def test_nothing_half_written_stays_after_an_error(config, home, monkeypatch, error, broken):
    """While the second batch is encoded, or while the held-out documents are taken out."""
    calls = 0
    function = getattr(SubWordTokenizer, broken)

    def break_down(self, argument):
        nonlocal calls
        calls += 1
        if calls == 2 or broken == "decode":
            raise error
        return function(self, argument)

    with monkeypatch.context() as patch:
        patch.setattr(SubWordTokenizer, broken, break_down)
        patch.setattr(tinyllm.text.tokenized, "_BATCH", 100)
        with pytest.raises(error):
            prepare(config, 50_257, progress=False)
    assert calls >= 1
    assert [path for path in home.rglob("*") if path.is_dir() or path.suffix != ".lock"] == [home / "prepared"]
    assert prepare(config, 50_257, progress=False).splits[HELD_OUT].words > 0


def test_what_a_killed_process_left_is_cleared_away(config):
    folder = prepare(config, 50_257, progress=False).folder
    left = folder.with_name(f".{folder.name}-left")
    left.mkdir()
    (left / "train.bin").write_bytes(b"half")
    prepare(config, 50_257, progress=False)
    assert not left.exists()


PREPARE = """
import sys, time
from pathlib import Path
from tinyllm.config import DataConfig
from tinyllm.text.prepared import prepare
from tinyllm.text.subword_tokenizer import SubWordTokenizer
encode_documents = SubWordTokenizer.encode_documents
def count(self, texts):
    print("tokenised", flush=True)
    time.sleep(0.6)  # long enough for the other process to meet the lock
    return encode_documents(self, texts)
SubWordTokenizer.encode_documents = count
Path(sys.argv[2]).touch()
while not all(Path(sign).exists() for sign in sys.argv[3:]):
    time.sleep(0.01)
data = prepare(DataConfig(data=sys.argv[1]), 50257, progress=False)
print(int(data.splits["train"].tokens.astype("int64").sum()), data.folder)
"""


def test_four_processes_end_with_one_good_cache(config, home, tmp_path):
    signs = [str(tmp_path / name) for name in ("one", "two", "three", "four")]
    processes = [
        subprocess.Popen([sys.executable, "-c", PREPARE, config.data, sign, *signs], stdout=subprocess.PIPE, text=True)
        for sign in signs
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(output.count("tokenised") for output in outputs) == [0, 0, 0, 1]  # one did it all, the others waited
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    folders = [path for path in (home / "prepared").iterdir() if path.is_dir()]
    assert len(folders) == 1
    assert prepare(config, 50_257, progress=False).folder == folders[0]


class Document(str):
    """A text whose life can be watched."""


def test_documents_are_read_in_a_stream(home, monkeypatch):
    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0

    def documents():
        nonlocal most
        for number in range(2000):
            document = Document(f"document {number} of many, each of them about fifty characters\n")
            alive.add(document)
            most = max(most, len(alive))
            yield document

    Document.__hash__ = object.__hash__  # a WeakSet would keep equal texts only once
    Document.__eq__ = object.__eq__
    monkeypatch.setattr(tinyllm.text.prepared, "load_corpus", lambda *_: Corpus("many", {"train": documents}))
    monkeypatch.setattr(tinyllm.text.tokenized, "_BATCH", 1000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    gc.collect()
    data = prepare(DataConfig(data="many", tokenizer="bpe"), 300, progress=False)
    assert len(data.splits["train"].starts) + len(data.splits[HELD_OUT].starts) == 2000
    assert most < 110  # four batches of about twenty documents, and the next


def test_the_cache_is_where_the_environment_says(config, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "elsewhere"))
    assert prepare(config, 50_257, progress=False).folder.is_relative_to(tmp_path / "elsewhere" / "prepared")
    monkeypatch.delenv("TINYLLM_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert prepare(config, 50_257, progress=False).folder.is_relative_to(tmp_path / "cache" / "tinyllm" / "prepared")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_prepared_corpus_can_be_shared_as_other_files_can(config):
    folder = prepare(config, 50_257, progress=False).folder
    assert folder.stat().st_mode == folder.parent.stat().st_mode


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
    "separators among words": ("<|endoftext|>a cat" * 50, "a cat" * 50),
    "other line ends": ("a\x0bb\x0cc\x1cd\x85e\u2028f\n" * 50, "a\x0bb\x0cc\x1cd\x85e\u2028f\n" * 50),
    "all of Unicode": (
        "".join(
            chr(code) + " " * (code % 100 == 99)  # words, which byte pairs are learned from
            for code in range(0x110000)
            if not 0xD800 <= code < 0xE000 and code not in (0x0D, 0xFEFF)
        ),
    )
    * 2,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("tokenizer", ["bpe", "gpt2"])
def test_it_is_read_as_it_stands(name, tokenizer, tmp_path, home):
    content, expected = GOOD[name]
    found = prepared_text(written(tmp_path, content), tokenizer)
    if name == "all of Unicode":  # so long that it comes in pieces, of which one in the middle is held out
        found, expected = "".join(sorted(found)), "".join(sorted(expected))
    assert found == expected


BAD = {
    "empty": (b"", "there is no text"),
    "only a byte-order mark": (b"\xef\xbb\xbf", "there is no text"),
    "only newlines": (b"\n" * 1000, "there is no text"),
    "only spaces": (b" " * 1000, "there is no text"),
    "one character": (b"a", "no text"),
    "only separators": (b"<|endoftext|>" * 100, "there is no text"),
    "Latin-1": ("café\n" * 10, "byte 3, in line 1"),
    "UTF-16": ("a cat\n".encode("utf-16"), "is text in UTF-16"),
    "a surrogate": (b"a cat \xed\xa0\x80\n", "byte 6, in line 1"),
    "a character cut off at the end": ("a cat é".encode()[:-1], "byte 6, in line 1"),
    "a picture": (bytes(range(256)) * 10, "is binary data"),
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


# Articles of known surprise


def texts_of(data: PreparedData, split: str) -> list[str]:
    return [data.tokenizer.decode(ids[1:]) for ids in documents_of(data.splits[split])]


@pytest.mark.parametrize("name", ["tinywiki", "tinywiki-full"])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_articles_of_a_split_are_its_documents_in_order(name, seed, few_articles):
    few_articles(40)
    config = DataConfig(data=name, tokenizer="bpe", validation_fraction=0.2, split_seed=seed)
    data = prepare(config, 300, progress=False)
    for split, count in {"train": 32, HELD_OUT: 8, "validation": 3, "test": 2}.items():
        articles = data.articles(split)
        assert [article.text for article in articles] == texts_of(data, split)
        assert len(articles) == count
        assert all(article.nats > 0 for article in articles)
    both = [*data.articles("train"), *data.articles(HELD_OUT)]
    assert sorted(a.text for a in both) == sorted(a.text for a in data.corpus.articles("train"))


def test_an_article_that_was_cut_in_two_is_in_no_split(few_articles):
    few_articles(1)
    data = prepare(DataConfig(data="tinywiki", tokenizer="bpe"), 300, progress=False)
    assert "".join(texts_of(data, "train") + texts_of(data, HELD_OUT)) == data.corpus.articles("train")[0].text
    assert not data.articles("train")
    assert not data.articles(HELD_OUT)
    assert len(data.articles("test")) == 2


def test_other_text_has_no_articles(config):
    data = prepare(config, 50_257, progress=False)
    assert not any(data.articles(split) for split in ("train", HELD_OUT, "validation", "test"))


def test_a_given_tokenizer_is_used_whatever_the_configuration_says(config):
    tokenizer = SubWordTokenizer.train("a rather small vocabulary " * 9, 270)
    data = prepare(config, 50_257, progress=False, tokenizer=tokenizer)
    assert data.tokenizer.fingerprint == tokenizer.fingerprint
    documents = list(load_corpus(config.data).documents("train"))
    found = {split: documents_of(data.splits[split]) for split in ("train", HELD_OUT)}
    wanted = [[tokenizer.end_of_text_id, *tokenizer.encode(document)] for document in documents]
    assert sorted(found["train"] + found[HELD_OUT]) == sorted(wanted)
    assert data.folder != prepare(config, 50_257, progress=False).folder
    assert data.folder == prepare(config, 300, progress=False, tokenizer=tokenizer).folder


def test_a_tokenizer_that_cannot_separate_documents_is_refused_in_one_line(config):
    tokenizer = CharacterTokenizer("abc")
    tokenizer.special_tokens = {}  # as one from elsewhere may have none
    with pytest.raises(
        ValueError, match=r"^this character tokenizer has no <\|endoftext\|>, which separates documents$"
    ):
        prepare(config, 300, progress=False, tokenizer=tokenizer)


def test_the_checksum_of_the_text_is_of_its_content(config, tmp_path, sample_text):
    checksums = {}
    for name, content in {"here": b"", "there": b"", "longer": b"\n more \n"}.items():
        (tmp_path / name).mkdir()
        path = written(tmp_path / name, sample_text.read_bytes() + content)
        checksums[name] = prepare(dataclasses.replace(config, data=path), 50_257, progress=False).text_checksum
    assert checksums["here"] == checksums["there"] != checksums["longer"]
    other = prepare(dataclasses.replace(config, split_seed=1), 50_257, progress=False)
    assert other.text_checksum not in checksums.values()
    assert prepare(config, 50_257, progress=False).text_checksum == checksums["here"]
