"""The files of a model that comes from anywhere: an index that lies, formats that could run code, what is whose."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from their_models import one_line, their_model

from tinyllm import save_model
from tinyllm.huggingface.loading import load_gpt2
from tinyllm.huggingface.model_files import INDEX, is_huggingface


@pytest.fixture
def shards(tmp_path):
    """A model in several files."""
    folder = tmp_path / "model"
    their_model().save_pretrained(folder, max_shard_size="20KB")
    return folder


def refused(folder) -> str:
    with pytest.raises(ValueError, match="is not a GPT-2 or Llama that can be loaded") as error:
        load_gpt2(str(folder), device="cpu")
    assert str(folder) in one_line(error)
    return str(error.value)


@pytest.mark.parametrize(
    "file",
    ["../outside.safetensors", "/outside.safetensors", "..\\a.safetensors", "", "..", "a.bin", 3, None, []],
)
def test_an_index_may_only_name_safetensors_files_beside_it(shards, file):
    save_file({"wte.weight": torch.zeros(89, 30)}, shards.parent / "outside.safetensors")
    index = json.loads((shards / INDEX).read_text())
    index["weight_map"]["transformer.wte.weight"] = file
    (shards / INDEX).write_text(json.dumps(index))
    assert f"{INDEX} names {file!r}" in refused(shards)


@pytest.mark.parametrize("content", ["", "{}", "[]", "3", '{"weight_map": {}}', '{"weight_map": [1]}', "[" * 100_000])
def test_an_index_that_is_none_is_refused(shards, content):
    (shards / INDEX).write_text(content)
    refused(shards)


def test_what_an_index_promises_must_be_there(shards):
    index = json.loads((shards / INDEX).read_text())["weight_map"]
    first, *_, last = sorted(set(index.values()))
    (shards / last).unlink()
    assert f"names {last}, which is missing" in refused(shards)
    (shards / last).write_bytes((shards / first).read_bytes())
    assert f"{last} lacks transformer." in refused(shards)
    (shards / last).write_bytes((shards / first).read_bytes()[:-100])
    refused(shards)
    (shards / last).write_bytes((10**15).to_bytes(8, "little") + b"{}")  # a header of a petabyte
    refused(shards)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "weights.ckpt"])
def test_a_pickle_is_refused_with_the_reason_and_not_opened(tmp_path, name):
    class Malice:
        def __reduce__(self):
            return open, (str(tmp_path / "trace"), "w")

    their_model().config.save_pretrained(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Malice()))
    assert f"{name} is a pickle, and loading a pickle can run code" in refused(tmp_path)
    assert not (tmp_path / "trace").exists()


def test_quantised_weights_and_settings_that_are_none_are_refused(tmp_path):
    their_model().save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"quantization_config": {"quant_method": "gptq"}}))
    assert "quantization_config" in refused(tmp_path)
    (tmp_path / "config.json").write_text("3")
    assert "holds no settings" in refused(tmp_path)


def test_whose_a_folder_is(tmp_path, shards, uninterrupted, model_of_ours):
    assert is_huggingface(shards)
    assert not is_huggingface(uninterrupted)
    for folder in uninterrupted.glob("step-*"):
        assert not is_huggingface(folder)
    save_model(model_of_ours, tmp_path / "ours.safetensors")
    assert not is_huggingface(tmp_path)
    assert not is_huggingface(tmp_path / "nowhere")
    (tmp_path / "pytorch_model.bin").touch()
    assert is_huggingface(tmp_path)
