"""Models as files: written, read, and refused when they are something else."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_models import random_ids

from tinyllm import GPT, load_model, save_model
from tinyllm.model.weights import build_model, read_model


def test_a_saved_model_comes_back_bit_for_bit_and_ready_for_use(model, config, tmp_path):
    save_model(model.train(), tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors", device="cpu")
    assert loaded.config == config
    assert not loaded.training
    ids = random_ids(config, 2, 16)
    torch.testing.assert_close(loaded(ids), model.eval()(ids), rtol=0, atol=0)


def test_the_file_states_the_configuration(model, config, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["config"]) == dataclasses.asdict(config)
    assert load_file(path).keys() == model.state_dict().keys()


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_file_has_the_rights_that_the_user_gives_to_new_files(model, tmp_path, mask):
    before = os.umask(mask)
    try:
        save_model(model, tmp_path / "model.safetensors")
        (tmp_path / "neighbour").touch()
        save_model(model, tmp_path / "model.safetensors")  # over the old one
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "neighbour").stat().st_mode


def test_a_file_that_may_not_be_read_is_an_error_about_permission(model, tmp_path, monkeypatch):
    """The tests may run as root, who may read anything."""
    path, path_open = tmp_path / "model.safetensors", Path.open
    save_model(model, path)

    def forbidden(self, *arguments, **settings):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return path_open(self, *arguments, **settings)

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(PermissionError, match=r"Permission denied: .*model\.safetensors"):
        load_model(path)


def test_a_file_without_a_configuration_is_refused(model, tmp_path):
    path = tmp_path / "model.safetensors"
    for metadata in (None, {"made by": "someone else"}):
        save_file(model.state_dict(), path, metadata)
        with pytest.raises(ValueError, match=r"model\.safetensors .*not written by save_model"):
            read_model(path)


@pytest.mark.parametrize("stated", ["{nonsense", "[]", "{}extra", '{"width": 3}', '{"num_layers": -1}', "[" * 100_000])
def test_metadata_that_is_no_configuration_is_refused(model, tmp_path, stated):
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path, {"config": stated})
    with pytest.raises(ValueError, match=r"model\.safetensors is not a model file"):
        read_model(path)


@pytest.mark.parametrize("content", [b"", b"not a tensor in sight", b"\xff" * 100])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors is not a model file"):
        read_model(path)


@pytest.mark.parametrize(
    ("name", "tensor", "found", "expected"),
    [
        ("blocks.1.attention.projection.weight", None, "none", r"\(\d+, \d+\)"),
        ("extra.weight", torch.zeros(3), r"\(3,\)", "none"),
        ("final_norm.weight", torch.zeros(5, 2), r"\(5, 2\)", r"\(\d+,\)"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named_with_both_shapes(model, config, name, tensor, found, expected):
    weights = {key: value for key, value in model.state_dict().items() if key != name}
    if tensor is not None:
        weights[name] = tensor
    with pytest.raises(ValueError, match=rf"^the file does not fit .*: {name} has shape {found}, expected {expected}$"):
        build_model(config, weights, "the file")


def test_a_built_model_has_float32_copies(model, config):
    halves = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()}
    built = build_model(config, halves, "here")
    originals = model.state_dict()
    again = build_model(config, originals, "here")
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            assert parameter.dtype == torch.float32
            assert torch.equal(parameter, halves[name].float()), name
        for name, parameter in again.named_parameters():
            before = originals[name].clone()
            parameter += 1
            assert torch.equal(originals[name], before), f"{name} shares memory with what it was built from"


def test_what_a_file_only_claims_takes_no_memory(modern_config, tmp_path, monkeypatch):
    """No weight's shape says how long a context with rotary positions is."""
    path = tmp_path / "model.safetensors"
    claimed = dataclasses.asdict(modern_config) | {"context_length": 10_000_000, "embedding_dim": 4096}
    save_file({"one": torch.zeros(1)}, path, {"config": json.dumps(claimed)})
    with pytest.raises(ValueError, match="does not fit this model"):
        read_model(path)
    weights = GPT(modern_config).state_dict()
    monkeypatch.setattr("tinyllm.model.weights.LARGEST_TABLE", 100_000)
    with pytest.raises(ValueError, match="does not fit into memory: a context_length of 1,000,000"):
        build_model(dataclasses.replace(modern_config, context_length=1_000_000), weights, path)


def test_the_layers_of_a_loaded_model_share_one_rotary_table(modern_config, tmp_path):
    model = GPT(modern_config)
    save_model(model, tmp_path / "model.safetensors")
    tables = [block.attention.rotary_table for block in read_model(tmp_path / "model.safetensors").blocks]
    assert tables[0] is tables[1]
    assert torch.equal(tables[0], model.blocks[0].attention.rotary_table)
