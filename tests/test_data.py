"""From documents to batches: the right ids, a cache that is whole or absent, and every token once an epoch."""

import dataclasses
import gc
import json
import math
import os
import shutil
import subprocess
import sys
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyllm.text.prepared
from tinyllm.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from tinyllm.system.distributed import Processes
from tinyllm.text.batches import Blocks
from tinyllm.text.corpus import Corpus
from tinyllm.text.prepared import HELD_OUT, TokenizedSplit, held_out_documents, prepare, text_size, tokenize
from tinyllm.text.sources import load_corpus
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenizer import CharacterTokenizer, WordTokenizer
from tinyllm.training.micro_batches import micro_batches


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache for each test."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TINYLLM_HOME", str(folder))
    return folder


@pytest.fixture
def config(sample_text) -> DataConfig:
    return DataConfig(data=str(sample_text))


@pytest.fixture
def no_tokenizing(monkeypatch):
    """Call it, and from then on nothing may be tokenised."""

    def fail(*_):
        raise AssertionError("the text was tokenised again")

    def switch() -> None:
        monkeypatch.setattr(SubWordTokenizer, "encode_batch", fail)
        monkeypatch.setattr(SubWordTokenizer, "train", fail)

    return switch


def documents_of(split: TokenizedSplit) -> list[list[int]]:
    """The ids of each document, with the separator in front."""
    return [part.tolist() for part in np.split(split.tokens, split.starts[1:])]


def split_of(lengths: list[int]) -> TokenizedSplit:
    """A split whose tokens are their own places."""
    tokens = np.arange(sum(lengths), dtype=np.uint32)
    starts = np.array([sum(lengths[:place]) for place in range(len(lengths))], np.int64)
    return TokenizedSplit(tokens, starts, 0, 0)


# The ids


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
    assert set(data.splits) == {"train", HELD_OUT, "validation", "test"}
    for split, word in {"train": "train", HELD_OUT: "train", "validation": "valid", "test": "test"}.items():
        assert set(data.tokenizer.decode(data.splits[split].tokens[1:]).split()) == {word}


def test_separators_written_in_the_text_are_ordinary_text(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("before <|endoftext|> after\n" * 20, encoding="utf-8")
    data = prepare(DataConfig(data=str(path)), 50_257, progress=False)
    for split in data.splits.values():
        assert Counter(split.tokens.tolist())[data.tokenizer.end_of_text_id] == len(split.starts) == 1


@pytest.mark.parametrize(("characters", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_ids_that_need_more_than_two_bytes_get_four(characters, dtype):
    alphabet = [chr(code) for code in range(0x20, 0x20 + characters + 0x800) if not 0xD800 <= code < 0xE000]
    tokenizer = CharacterTokenizer("".join(alphabet[:characters]))
    last = tokenizer.characters[-1]
    split = tokenize([last], tokenizer)
    assert tokenizer.vocab_size == characters + 1
    assert split.tokens.dtype == dtype
    assert split.tokens.tolist() == [characters, characters - 1]


def test_in_memory_and_prepared_are_the_same(config):
    prepared = prepare(config, 50_257, progress=False)
    documents = [prepared.tokenizer.decode(ids[1:]) for ids in documents_of(prepared.splits["train"])]
    split = tokenize(iter(documents), prepared.tokenizer)
    for name in ("tokens", "starts"):
        assert np.array_equal(getattr(split, name), getattr(prepared.splits["train"], name))
        assert getattr(split, name).dtype == getattr(prepared.splits["train"], name).dtype
    assert (split.words, split.size) == (prepared.splits["train"].words, prepared.splits["train"].size)


@given(st.text(alphabet=st.sampled_from("ab \n\té本")))
def test_words_are_counted_as_the_word_tokenizer_cuts_them(text):
    assert text_size([text]) == (len(WordTokenizer.split(text)), len(text.encode("utf-8")))


@pytest.mark.parametrize("text", ["", "\n \n\n"])
def test_a_text_without_text_is_refused(tmp_path, text):
    path = tmp_path / "empty.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"no text in .*empty\.txt"):
        prepare(DataConfig(data=str(path)), 50_257, progress=False)


# Held-out articles


@given(st.integers(2, 5000), st.floats(0, 0.5), st.integers(0, 1000))
def test_a_hundredth_of_the_articles_is_held_out_but_never_none_nor_all(number, fraction, seed):
    chosen = held_out_documents(number, fraction, seed)
    assert chosen <= set(range(number))
    assert 1 <= len(chosen) < number
    assert len(chosen) == 1 or abs(len(chosen) - number * fraction) <= 0.5
    assert held_out_documents(number, fraction, seed) == chosen


def test_every_article_may_be_held_out():
    counts = Counter(place for seed in range(2000) for place in held_out_documents(10, 0.2, seed))
    assert set(counts) == set(range(10))
    assert all(abs(count - 400) < 5 * math.sqrt(400 * 0.8) for count in counts.values())


@pytest.mark.parametrize("text", ["one two three four five " * 20 + "\n", "没有空格的文字" * 30, "x y"])
def test_a_single_document_gives_its_last_tenth(tmp_path, text):
    path = tmp_path / "one.txt"
    path.write_text(text, encoding="utf-8")
    data = prepare(DataConfig(data=str(path)), 50_257, progress=False)
    parts = [data.tokenizer.decode(data.splits[split].tokens[1:]) for split in ("train", HELD_OUT)]
    assert "".join(parts) == text
    assert 1 <= len(parts[1]) <= max(2, len(text) // 10 + 7)
    assert not (" " in text and parts[0][-1:].isalpha() and parts[1][:1].isalpha()), "a word was cut"


# The cache


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
def test_a_damaged_cache_is_noticed_and_made_again(config, capsys, name, damage):
    good = prepare(config, 50_257, progress=False)
    assert sorted(path.name for path in good.folder.iterdir()) == sorted(FILES)
    files = {path.name: path.read_bytes() for path in good.folder.iterdir()}
    capsys.readouterr()
    damage(good.folder / name)
    again = prepare(config, 50_257, progress=False)
    assert again.folder == good.folder
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == files
    assert "damaged" in capsys.readouterr().out
    prepare(config, 50_257, progress=False)
    assert capsys.readouterr().out == ""


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
def test_nothing_half_written_stays_after_an_error(config, home, monkeypatch, error):
    calls = 0
    encode_batch = SubWordTokenizer.encode_batch

    def break_down(self, texts):
        nonlocal calls
        calls += 1
        if calls == 2:  # the training part is written, the held-out part is not
            raise error
        return encode_batch(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(SubWordTokenizer, "encode_batch", break_down)
        with pytest.raises(error):
            prepare(config, 50_257, progress=False)
    assert calls == 2
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
from tinyllm.data import prepare
from tinyllm.tokenizer import SubWordTokenizer
encode_batch = SubWordTokenizer.encode_batch
def count(self, texts):
    print("tokenised", flush=True)
    time.sleep(0.3)  # long enough for the other process to meet the lock
    return encode_batch(self, texts)
SubWordTokenizer.encode_batch = count
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
    assert sorted(output.count("tokenised") for output in outputs) == [0, 0, 0, 2]  # one did it all, the others waited
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
    monkeypatch.setattr(tinyllm.text.prepared, "load_corpus", lambda _: Corpus("many", {"train": documents}))
    monkeypatch.setattr(tinyllm.text.prepared, "_BATCH", 1000)
    gc.collect()
    data = prepare(DataConfig(data="many", tokenizer="bpe"), 300, progress=False)
    assert len(data.splits["train"].starts) + len(data.splits[HELD_OUT].starts) == 2000
    assert most < 60  # a batch of about twenty documents, and the one before it


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


# Blocks

SHAPES = st.tuples(st.integers(1, 12), st.integers(0, 60), st.integers(0, 5))  # context length, tokens to spare, seed


def epochs_of(blocks: Blocks, number: int) -> list[list[int]]:
    """The first block places of some epochs; a new one begins with the first token that comes a second time."""
    epochs: list[list[int]] = [[]]
    seen: set[int] = set()
    index = 0
    while len(epochs) <= number:
        place = int(blocks.batch(index, 1)[0][0, 0])
        covered = set(range(place, place + blocks.context_length))
        # Blocks of two epochs might not overlap, so an epoch also ends when no further block fits beside its others.
        offset = (epochs[-1] or [place])[0] % blocks.context_length
        whole = len(range(offset, len(blocks.tokens) - blocks.context_length, blocks.context_length))
        if len(epochs[-1]) == whole:
            epochs.append([])
            seen = set()
        assert not covered & seen
        seen |= covered
        epochs[-1].append(place)
        index += 1
    return epochs[:number]


@given(SHAPES)
@settings(deadline=None)
def test_every_token_is_a_target_once_an_epoch_the_ends_aside(shape):
    context_length, spare, seed = shape
    length = context_length + 1 + spare
    blocks = Blocks(split_of([length]), context_length, seed)
    for places in epochs_of(blocks, 4):
        targets = sorted(place + 1 + step for place in places for step in range(context_length))
        assert targets == list(range(targets[0], targets[-1] + 1))  # each once, none left out in between
        assert targets[0] - 1 < context_length  # only a part of a block is missing at the beginning,
        assert length - 1 - targets[-1] < context_length  # and at the end


def test_every_token_but_the_first_is_a_target_sooner_or_later():
    blocks = Blocks(split_of([4 * 8 + 3]), 8, seed=0)
    targets = {int(target) for index in range(400) for target in blocks.batch(index, 1)[1][0]}
    assert targets == set(range(1, 35))


@given(SHAPES, st.sampled_from(["anywhere", "document"]), st.integers(0, 50), st.integers(1, 20))
@settings(deadline=None)
def test_a_batch_is_a_pure_function_of_seed_and_number(shape, begin, first, number):
    context_length, spare, seed = shape
    split = split_of([context_length + 1, spare + 1])
    blocks = Blocks(split, context_length, seed, begin)
    ids, targets = blocks.batch(first, number)
    assert ids.shape == targets.shape == (number, context_length)
    assert ids.dtype == targets.dtype == np.int64
    assert np.array_equal(targets, ids + 1)  # here a token is its own place
    assert np.array_equal(ids, ids[:, :1] + np.arange(context_length))
    assert ids.min() >= 0
    assert targets.max() < len(split.tokens)
    fresh = [Blocks(split, context_length, seed, begin).batch(index, 1) for index in range(first, first + number)]
    assert np.array_equal(np.concatenate([ids for ids, _ in fresh]), ids)
    backwards = [blocks.batch(index, 1)[0] for index in reversed(range(first, first + number))]
    assert np.array_equal(np.concatenate(backwards[::-1]), ids)


def test_each_epoch_has_an_order_and_an_offset_of_its_own():
    blocks = Blocks(split_of([64 * 51]), 64, seed=3)
    epochs = epochs_of(blocks, 6)
    assert len({places[0] % 64 for places in epochs}) > 3
    orders = {tuple(place // 64 for place in places) for places in epochs}
    assert len(orders) == 6
    assert all(list(places) != sorted(places) for places in epochs)
    other = epochs_of(Blocks(split_of([64 * 51]), 64, seed=4), 6)
    assert all(one != two for one, two in zip(epochs, other, strict=True))


@given(st.integers(1, 9), st.lists(st.integers(1, 25), min_size=1, max_size=12), st.integers(0, 5))
@settings(deadline=None)
def test_blocks_at_documents_read_every_document_once_an_epoch(context_length, lengths, seed):
    split = split_of([*lengths, context_length + 1])  # room behind the last document
    blocks = Blocks(split, context_length, seed, begin="document")
    wanted = [
        start + step
        for start, length in zip(split.starts.tolist(), lengths, strict=False)
        for step in range(0, length, context_length)
    ]
    wanted.append(int(split.starts[-1]))
    per_epoch = len(wanted)
    orders = []
    for epoch in range(3):
        ids, _ = blocks.batch(epoch * per_epoch, per_epoch)
        orders.append(ids[:, 0].tolist())
        assert sorted(orders[-1]) == wanted
    if per_epoch > 8:
        assert len(set(map(tuple, orders))) > 1


def test_a_document_too_near_the_end_for_a_whole_block_begins_none():
    blocks = Blocks(split_of([10, 3, 3]), 8, begin="document")
    assert {int(blocks.batch(index, 1)[0][0, 0]) for index in range(20)} == {0}
    with_room = Blocks(split_of([10, 3, 9]), 8, begin="document")
    assert {int(with_room.batch(index, 1)[0][0, 0]) for index in range(20)} == {0, 8, 10, 13}


@given(SHAPES, st.sampled_from(["anywhere", "document"]), st.integers(1, 8))
def test_fixed_blocks_are_whole_different_and_spread_over_the_text(shape, begin, number):
    context_length, spare, seed = shape
    split = split_of([context_length + 1, spare + 1])
    blocks = Blocks(split, context_length, seed, begin)
    ids, targets = blocks.fixed(number)
    assert np.array_equal(ids, Blocks(split, context_length, seed + 1, begin).fixed(number)[0])
    assert np.array_equal(targets, ids + 1)
    assert 1 <= len(ids) <= number
    assert len(set(ids[:, 0].tolist())) == len(ids)
    assert ids[0, 0] == 0
    if number > 1 and begin == "anywhere":
        assert len(split.tokens) - 1 - targets[-1, -1] < context_length


@pytest.mark.parametrize("begin", ["anywhere", "document"])
def test_a_text_shorter_than_a_block_is_refused(begin):
    assert Blocks(split_of([9]), 8, begin=begin).batch(0, 3)[0].tolist() == [list(range(8))] * 3
    with pytest.raises(ValueError, match=r"8 tokens.*needs 9.*context_length"):
        Blocks(split_of([8]), 8, begin=begin)


@pytest.mark.timeout(60)  # offsets at which no block fits would make hundreds of empty epochs for each with one
def test_a_text_of_one_block_has_a_block_in_every_epoch():
    assert Blocks(split_of([1025]), 1024).batch(20_000, 1)[0].tolist() == [list(range(1024))]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_the_shares_of_several_processes_are_the_batch_of_one(world_size):
    config = RunConfig(
        model=ModelConfig(context_length=8), training=TrainingConfig(batch_size=3, gradient_accumulation_steps=4)
    )
    blocks = Blocks(split_of([500]), 8, seed=1)
    for iteration in (0, 1, 7):
        shares = [
            micro_batches(blocks, config, iteration, Processes(torch.device("cpu"), rank, world_size))
            for rank in range(world_size)
        ]
        assert {len(share) for share in shares} == {4 // world_size}
        ids = np.concatenate([part.numpy() for share in shares for part, _ in share])
        targets = np.concatenate([part.numpy() for share in shares for _, part in share])
        wanted, _ = blocks.batch(iteration * 12, 12)
        assert np.array_equal(targets, ids + 1)
        assert sorted(map(tuple, ids)) == sorted(map(tuple, wanted))
    if world_size > 1:
        with pytest.raises(ValueError, match="must be a multiple of the 3 processes"):
            micro_batches(blocks, config, 0, Processes(torch.device("cpu"), 0, 3))


def test_no_block_of_training_holds_held_out_text(config):
    data = prepare(dataclasses.replace(config, validation_fraction=0.5), 50_257, progress=False)
    blocks = Blocks(data.splits["train"], 32)
    ids, _ = blocks.batch(0, 200)
    seen = Counter(word for row in ids for word in data.tokenizer.decode(row).split())
    words = [Counter(document.split()) for document in load_corpus(config.data).documents("train")]
    held_out = data.tokenizer.decode(data.splits[HELD_OUT].tokens)
    for place, own in enumerate(words):
        others = sum(words[:place] + words[place + 1 :], Counter())
        marks = [word for word in own if word not in others and len(word) > 6]  # long enough to be no half of another
        assert len(marks) > 20
        if all(mark in held_out for mark in marks):
            assert not any(mark in seen for mark in marks)
        else:
            assert sum(mark in seen for mark in marks) > 0.9 * len(marks)
