"""Malicious files: refused in one line, without running, allocating or writing anything."""

import dataclasses
import json
import pickle
import random
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from saved_checkpoints import Malice, rewrite
from small_runs import quietly, small_run, stop_after

import tinyllm
from tinyllm import GPT, ModelConfig, load_model, load_run
from tinyllm.config import DataConfig
from tinyllm.huggingface import load_gpt2
from tinyllm.model.weights import save_model
from tinyllm.system.files import sha256
from tinyllm.text.prepared import _checksum, prepare
from tinyllm.text.tokenizer import load_tokenizer
from tinyllm.training.checkpoint import find_checkpoint, load_training_state, read_checkpoint

DEEP = "[" * 100_000


@pytest.fixture(autouse=True)
def little_memory():
    """None of these tests may take a gigabyte more than the tests before it."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 1_000_000


def refused(call, *arguments) -> str:
    with pytest.raises(ValueError) as refusal:
        call(*arguments)
    message = str(refusal.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


# Weights


def lying(header: dict | bytes, length: int | None = None) -> bytes:
    """A safetensors file with 64 bytes of weights and this header, which may claim another length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(64)


def tensor(**claims: object) -> dict:
    return {"weight": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]} | claims}


@pytest.mark.parametrize(
    "content",
    [
        lying(tensor(), length=2**62),
        lying(tensor(), length=10**9),
        lying(tensor(shape=[10**12])),
        lying(tensor(shape=[10**12], data_offsets=[0, 4 * 10**12])),
        lying(tensor(shape=[2**33, 2**33])),
        lying(tensor(data_offsets=[64, 0])),
        lying(tensor(shape=[-16])),
        lying(tensor(dtype="PICKLE")),
        lying(tensor() | {"other": tensor()["weight"]}),
        lying(DEEP.encode()),
        lying(tensor() | {"__metadata__": {"config": DEEP}}),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert str(path) in refused(load_model, path)


@pytest.mark.parametrize(
    "claims",
    [
        {"embedding_dim": 10**9},
        {"num_layers": 10**9},
        {"vocab_size": 10**15},
        {"context_length": 10**18},
        {"feedforward_dim": 10**400},
        {"embedding_dim": 90_000, "feedforward_dim": 9_000_000, "vocab_size": 9_000_000},  # each within its bounds
    ],
)
def test_a_model_that_claims_to_be_huge_is_refused_before_it_is_built(tmp_path, tiny_config, claims):
    path = tmp_path / "model.safetensors"
    metadata = {"config": json.dumps(dataclasses.asdict(tiny_config) | claims)}
    save_file(GPT(tiny_config).state_dict(), path, metadata)
    assert str(path) in refused(load_model, path)


def test_altered_bytes_of_a_model_file_never_crash(tmp_path, tiny_config):
    whole, path = tmp_path / "whole.safetensors", tmp_path / "model.safetensors"
    save_model(GPT(tiny_config), whole)
    content = whole.read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        altered = bytearray(content)
        altered[chance.randrange(3000)] = chance.randrange(256)  # the header
        path.write_bytes(altered[: chance.choice([len(altered), chance.randrange(len(altered))])])
        try:
            load_model(path, "cpu")
        except ValueError as error:
            assert str(path) in str(error)


# A checkpoint


@pytest.fixture
def bad_state(saved, tmp_path):
    """Writes other bytes as a training state, with a matching checksum; returns the error of loading it."""

    def write(content: bytes) -> str:
        rewrite(saved.folder / "step-000003", "training_state.pt", content)
        return refused(load_training_state, read_checkpoint(saved.folder / "step-000003"))

    return write


def test_a_storage_that_claims_to_be_huge_is_refused(bad_state, tmp_path):
    torch.save({"optimizer": torch.ones(16)}, tmp_path / "small.pt")
    with zipfile.ZipFile(tmp_path / "small.pt") as small, zipfile.ZipFile(tmp_path / "huge.pt", "w") as huge:
        for item in small.infolist():
            content = small.read(item)
            if item.filename.endswith("data.pkl"):
                assert content.count(b"K\x10") == 2  # the number 16: the storage's length and the tensor's shape
                content = content.replace(b"K\x10", b"J\xff\xff\xff\x7f")
            huge.writestr(item.filename, content)
    assert "training_state.pt is refused" in bad_state((tmp_path / "huge.pt").read_bytes())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_altered_bytes_of_a_training_state_never_run_or_crash(saved, tmp_path):
    path, trace = saved.folder / "step-000003" / "training_state.pt", tmp_path / "trace"
    content = path.read_bytes()
    content += pickle.dumps(Malice(trace))
    found = read_checkpoint(saved.folder / "step-000003")
    chance = random.Random(0)
    for _ in range(200):
        altered = bytearray(content)
        for _ in range(chance.choice([1, 2, 5])):
            altered[chance.randrange(len(altered))] = chance.randrange(256)
        path.write_bytes(altered)
        try:
            load_training_state(found)
        except ValueError as error:
            assert "training_state.pt is refused" in str(error)
    assert not trace.exists()


@pytest.mark.parametrize("state", [None, [], {}, {"optimizer": {}, "scaler": {}}, {"optimizer": {"state": {}}}])
def test_a_training_state_of_something_else_is_refused(text, tmp_path, state):
    config = small_run(text, tmp_path / "run")
    quietly(config, on_step=stop_after(2))
    torch.save(state, tmp_path / "other.pt")
    folder = find_checkpoint(tmp_path / "run").folder
    rewrite(folder, "training_state.pt", (tmp_path / "other.pt").read_bytes())
    assert "training_state.pt" in refused(quietly, config)


@pytest.mark.parametrize("name", ["checksums.json", "config.json"])
@pytest.mark.parametrize("content", [DEEP, "1e999", '{"a":' * 50_000, "9" * 100_000])
def test_absurd_json_is_refused(saved, name, content):
    folder = saved.folder / "step-000003"
    if name == "config.json":
        rewrite(folder, name, content.encode())
    else:
        (folder / name).write_text(content)
    assert f"{name} is torn or altered" in refused(read_checkpoint, folder)


@pytest.mark.parametrize(
    "line", [DEEP, "3", "null", "{}", '{"iteration": "x"}', "[]", "\xff\xfe", '{"iteration": null}']
)
def test_a_history_that_somebody_altered_is_read_up_to_there(text, tmp_path, line):
    config = small_run(text, tmp_path)
    quietly(config, on_step=stop_after(3))
    path = tmp_path / "history.jsonl"
    before = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*before[:2], line.encode("latin-1") + b"\n", *before[2:]]))
    assert len(load_run(tmp_path).history) == 2
    assert quietly(config).finished


# Tokenizers, prepared corpora, GPT-2's settings


@pytest.mark.parametrize("content", [DEEP, "9" * 100_000, '{"kind": "subword", "tokens": ' + DEEP])
def test_an_absurd_tokenizer_file_is_refused(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    assert str(path) in refused(load_tokenizer, path)


def test_a_pickle_is_no_tokenizer(tmp_path):
    path, trace = tmp_path / "tokenizer.json", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Malice(trace)))
    assert str(path) in refused(load_tokenizer, path)
    assert not trace.exists()


def test_settings_of_an_absurd_gpt2_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(DEEP)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert str(tmp_path) in refused(load_gpt2, str(tmp_path), "cpu")
    settings = {"n_embd": 10**9, "n_head": 1, "n_layer": 1, "n_positions": 8, "vocab_size": 10}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert "must be a whole number" in refused(load_gpt2, str(tmp_path), "cpu")


@pytest.mark.parametrize("where", ["checksums", "splits"])
def test_a_prepared_corpus_that_points_outside_is_made_again(monkeypatch, tmp_path, where, caplog):
    """meta.json's own checksum catches accidents, not somebody who rewrites it."""
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "home"))
    (tmp_path / "text.txt").write_text("a cat and a dog\n" * 100)
    config = DataConfig(data=str(tmp_path / "text.txt"), tokenizer="bpe")
    honest = prepare(config, 300, progress=False)
    outside = tmp_path / "home" / "secret.bin"
    outside.write_bytes(bytes(1000))
    meta = json.loads((honest.folder / "meta.json").read_text())
    if where == "checksums":
        meta["checksums"]["../../secret.bin"] = sha256(outside)
    else:
        (outside.parent / "secret-starts.npy").write_bytes((honest.folder / "train-starts.npy").read_bytes())
        meta["splits"]["../../secret"] = meta["splits"]["train"]
    meta["checksum"] = _checksum(meta)
    (honest.folder / "meta.json").write_text(json.dumps(meta))
    again = prepare(config, 300, progress=False)
    assert "damaged" in caplog.text
    assert again.splits.keys() == {"train", "held_out"}
    assert again.splits["train"].tokens.tolist() == honest.splits["train"].tokens.tolist()
    assert outside.read_bytes() == bytes(1000)


def test_starts_that_are_a_pickle_are_not_unpickled(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "home"))
    (tmp_path / "text.txt").write_text("a cat and a dog\n" * 100)
    config = DataConfig(data=str(tmp_path / "text.txt"), tokenizer="bpe")
    folder, trace = prepare(config, 300, progress=False).folder, tmp_path / "trace"
    np.save(folder / "train-starts.npy", np.array([Malice(trace)], dtype=object), allow_pickle=True)
    meta = json.loads((folder / "meta.json").read_text())
    meta["checksums"]["train-starts.npy"] = sha256(folder / "train-starts.npy")
    meta["checksum"] = _checksum(meta)
    (folder / "meta.json").write_text(json.dumps(meta))
    assert len(prepare(config, 300, progress=False).splits["train"].starts) == 1
    assert not trace.exists()


OWN_CODE = ("chA2_backprop.py", "variations.py")  # they run formulas and functions of the course's own source


def test_no_call_of_torch_load_or_pickle_can_run_code():
    """Every call that could is found in the source, so that a new one is noticed."""
    package = Path(tinyllm.__file__).parent
    calls = [
        (path.name, line.strip())
        for path in package.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(word in line for word in ("torch.load(", "pickle.load", "np.load(", "eval(", "exec(", "joblib"))
        and ".eval()" not in line
        and not (path.name in OWN_CODE and "exec(" in line)
    ]
    assert calls
    for name, line in calls:
        assert "weights_only=True" in line or ("np.load(" in line and "allow_pickle" not in line), (name, line)


def test_a_configuration_beyond_all_bounds_is_refused_by_the_fields_name():
    assert "num_layers must be" in refused(lambda: ModelConfig(num_layers=10**6))
