"""Models from folders as transformers writes them, also in several files, and their tokenizers."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from their_models import assert_same, one_line, their_llama, their_model
from transformers import GPT2LMHeadModel

from tinyllm import GPT, ModelConfig, SubWordTokenizer
from tinyllm.huggingface.loading import load_gpt2, read_tokenizer_folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder as transformers writes it."""
    folder = tmp_path_factory.mktemp("gpt2")
    their_model(activation_function="gelu_new").save_pretrained(folder)
    return folder


@torch.no_grad()
def test_a_folder_that_transformers_wrote_is_read(saved, ids):
    assert_same(load_gpt2(str(saved), device="cpu")(ids), GPT2LMHeadModel.from_pretrained(saved).eval()(ids).logits)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_files_of_the_first_release_are_read(saved, ids, tmp_path, dtype):
    """Names without "transformer.", and each layer's attention mask among the weights; perhaps in half precision."""
    weights = load_file(saved / "model.safetensors")
    old = {name.removeprefix("transformer."): tensor.to(dtype) for name, tensor in weights.items()}
    old |= {f"h.{layer}.attn.bias": torch.ones(24, 24).tril()[None, None].clone() for layer in range(3)}
    save_file(old, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((saved / "config.json").read_text())
    model = load_gpt2(str(tmp_path), device="cpu")
    assert model.token_embedding.weight.dtype == torch.float32
    expected = load_gpt2(str(saved), device="cpu")(ids)
    torch.testing.assert_close(model(ids), expected, rtol=0, atol=0 if dtype == torch.float32 else 0.05)


def copy_of(saved: Path, folder: Path, **changes) -> Path:
    settings = json.loads((saved / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | changes))
    (folder / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    return folder


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", None, "config.json"),
        ("model.safetensors", None, "model.safetensors"),
        ("config.json", b"{nonsense", "line 1"),
        ("config.json", b"\xff\xfe", "decode"),
        ("config.json", b"[]", ""),
        ("config.json", b"{}", "n_embd"),
        ("model.safetensors", b"", ""),
        ("model.safetensors", b"not a tensor in sight", ""),
    ],
)
def test_a_folder_without_a_gpt2_is_refused_in_one_line_with_its_name(saved, tmp_path, file, content, reason):
    copy_of(saved, tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match="GPT-2") as error:
        load_gpt2(str(tmp_path), device="cpu")
    assert str(tmp_path) in one_line(error)
    assert reason in one_line(error)


def test_an_activation_that_ours_lacks_is_named_with_the_folder(saved, tmp_path):
    copy_of(saved, tmp_path, activation_function="silu")
    with pytest.raises(ValueError, match=r"activation_function 'silu'.*gelu_new") as error:
        load_gpt2(str(tmp_path), device="cpu")
    assert str(tmp_path) in one_line(error)


def test_an_unknown_device_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="device 'abacus'"):
        load_gpt2(str(tmp_path), device="abacus")


@torch.no_grad()
def test_a_saved_llama_is_read_from_its_folder(ids, tmp_path):
    reference = their_llama()
    reference.save_pretrained(tmp_path)
    assert_same(load_gpt2(str(tmp_path), device="cpu")(ids), reference(ids).logits)
    settings = json.loads((tmp_path / "config.json").read_text())
    rope = settings.pop("rope_parameters")  # as before transformers 5
    settings |= {"rope_theta": rope["rope_theta"], "rope_scaling": None}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert_same(load_gpt2(str(tmp_path), device="cpu")(ids), reference(ids).logits)


@torch.no_grad()
@pytest.mark.parametrize("make", [their_model, their_llama])
def test_a_model_in_several_files_is_read(ids, tmp_path, make):
    reference = make()
    reference.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert_same(load_gpt2(str(tmp_path), device="cpu")(ids), reference(ids).logits)


# --- Tokenizers ---


def test_a_tokenizer_is_read_from_its_files_and_gpt2s_needs_none(tmp_path, gpt2_tokenizer):
    small = GPT(ModelConfig(300, 8, 4, num_layers=1, num_heads=1, feedforward_dim=4))
    own = SubWordTokenizer.train("a cat sat on a mat with a hat " * 9, 270)
    own.to_huggingface(tmp_path)
    assert read_tokenizer_folder(tmp_path, small, "here").fingerprint == own.fingerprint
    (tmp_path / "tokenizer.json").unlink()
    assert read_tokenizer_folder(tmp_path, small, "here").fingerprint == own.fingerprint  # vocab.json, merges.txt
    shutil.rmtree(tmp_path)
    large = GPT(ModelConfig(50_257, 8, 4, num_layers=1, num_heads=1, feedforward_dim=4))
    assert read_tokenizer_folder(tmp_path, large, "here").fingerprint == gpt2_tokenizer.fingerprint


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (None, "", "no tokenizer.json"),
        ("tokenizer.model", "", "SentencePiece"),
        ("tokenizer.json", "{}", "byte-level BPE"),
        ("tokenizer.json", '{"model": {"type": "Unigram"}}', "its model is Unigram"),
        ("tokenizer.json", "[" * 100_000, "nested too deeply"),
        ("vocab.json", "{}", "no vocab.json with merges.txt"),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_one_line_with_the_models_name(tmp_path, name, content, reason):
    model = GPT(ModelConfig(300, 8, 4, num_layers=1, num_heads=1, feedforward_dim=4))
    if name:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"^the tokenizer of 'someone/small' cannot be used: .*{reason}") as error:
        read_tokenizer_folder(tmp_path, model, "someone/small")
    one_line(error)
