"""Runs that begin with somebody's weights: their shape and tokenizer come along, and the run needs them only once."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from model_hub import model_hub
from safetensors.torch import save_file
from small_runs import assert_same_end, equal, quietly, small_run, stop_after
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from tinyllm import RunConfig, SubWordTokenizer, load_run, save_model, train
from tinyllm.__main__ import main
from tinyllm.training.initial_weights import _GPT2_FINGERPRINT, read_weights, starting_point

OTHERS = RunConfig().replace(  # a preset's settings, none of them those of the weights
    max_iterations=2, batch_size=2, gradient_accumulation_steps=1, warmup_iterations=0, max_learning_rate=1e-3,
    min_learning_rate=0.0, evaluation_interval=2, evaluation_blocks=8, device="cpu", context_length=64, dropout=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def parent(uninterrupted):
    return load_run(uninterrupted)


@pytest.fixture(scope="module")
def llama(text, tmp_path_factory):
    """A run of the Llama kind."""
    choices = {"activation": "swiglu", "norm": "rmsnorm", "positions": "rotary", "bias": False, "num_kv_heads": 1}
    return quietly(small_run(text, tmp_path_factory.mktemp("llama"), max_iterations=4, **choices))


def source_of(kind: str, run, folder: Path, monkeypatch) -> str:
    """The run's model in one of the forms that a run can begin with."""
    if kind == "run":
        return str(run.folder)
    checkpoint = next(iter(sorted(run.folder.glob("step-*"))))
    if kind == "checkpoint":
        return str(checkpoint)
    if kind == "file":
        save_model(run.model, folder / "mine.safetensors")
        run.tokenizer.save(folder / "tokenizer.json")
        return str(folder / "mine.safetensors")
    exported = run.export(folder / "exported")
    if kind == "shards":
        model = AutoModelForCausalLM.from_pretrained(exported)
        (exported / "model.safetensors").unlink()
        model.save_pretrained(exported, max_shard_size="5KB")
        assert (exported / "model.safetensors.index.json").exists()
    return str(exported)


@pytest.mark.parametrize("kind", ["run", "checkpoint", "file", "folder", "shards"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_run_begins_with_any_weights_and_does_not_need_them_again(
    parent, llama, text, tmp_path, monkeypatch, kind, architecture
):
    run = parent if architecture == "gpt2" else llama
    place = tmp_path / "copied"
    shutil.copytree(run.folder, place)
    source = source_of(kind, load_run(place), tmp_path, monkeypatch)
    settings = {"data": str(text), "init_from": source, "run_folder": tmp_path / "tuned", "progress": False}
    stopped = train(OTHERS, on_step=stop_after(1), **settings)
    assert stopped.iteration == 1
    losses = [point["validation_loss"] for point in load_run(run.folder).history if "validation_loss" in point]
    assert min(abs(stopped.history[0]["validation_loss"] - loss) for loss in losses) < 1e-5, "not its weights"
    shutil.rmtree(place)
    shutil.rmtree(tmp_path / "exported", ignore_errors=True)
    (tmp_path / "mine.safetensors").unlink(missing_ok=True)
    finished = train(OTHERS, **settings)
    assert finished.finished
    loaded = load_run(tmp_path / "tuned")
    for result in (finished, loaded):
        shape = dataclasses.replace(run.model.config, dropout=0.0)
        equal_heads = {"num_kv_heads": result.model.config.num_kv_heads}
        assert result.model.config == result.config.model == dataclasses.replace(shape, **equal_heads)
        assert result.model.config.kv_heads == shape.kv_heads
        assert result.tokenizer.fingerprint == run.tokenizer.fingerprint
        assert result.config.training.init_from == source
        assert result.config.dataset.tokenizer == "bpe"
    assert loaded.evaluate().tokens > 0
    assert loaded.generate("a cat", maximum_length=3).startswith("a cat")


def test_a_run_begins_with_a_model_on_the_hub(parent, text, tmp_path, monkeypatch):
    exported = parent.export(tmp_path / "exported")
    settings = {"data": str(text), "init_from": "someone/small", "run_folder": tmp_path / "tuned", "progress": False}
    with model_hub({"someone/small": exported}, tmp_path / "cache", monkeypatch):
        stopped = train(OTHERS, on_step=stop_after(1), **settings)
    shutil.rmtree(tmp_path / "cache")
    assert stopped.tokenizer.fingerprint == parent.tokenizer.fingerprint
    assert train(OTHERS, **settings).finished, "without the Hub"


def test_resuming_gives_the_same_numbers_as_never_stopping(parent, text, tmp_path):
    config = OTHERS.replace(data=str(text), init_from=str(parent.folder), max_iterations=4, dropout=0.2)
    quietly(config.replace(run_folder=str(tmp_path / "whole")))
    quietly(config.replace(run_folder=str(tmp_path / "cut")), on_step=stop_after(2))
    quietly(config.replace(run_folder=str(tmp_path / "cut")))
    assert_same_end(tmp_path / "whole", tmp_path / "cut")
    assert load_run(tmp_path / "cut").config.model.dropout == 0.2


def test_the_same_source_is_the_same_run_in_any_folder(parent, text, tmp_path, monkeypatch):
    settings = {"data": str(text), "run_folder": tmp_path / "tuned", "progress": False}
    monkeypatch.chdir(parent.folder.parent)
    train(OTHERS, init_from=parent.folder.name, **settings)
    monkeypatch.chdir(tmp_path)
    assert train(OTHERS, init_from=parent.folder, **settings, max_iterations=3).iteration == 3
    with pytest.raises(ValueError, match=r"init_from \('"):
        train(OTHERS, init_from=parent.folder.name, **settings, max_iterations=3)


def test_another_source_is_another_run(parent, llama, text, tmp_path):
    settings = {"data": str(text), "run_folder": tmp_path / "tuned", "progress": False}
    train(OTHERS, init_from=parent.folder, **settings)
    for other in (str(llama.folder), str(tmp_path / "nowhere"), None):
        with pytest.raises(ValueError, match=r"belongs to a run with other settings: .*init_from \('"):
            train(OTHERS, init_from=other, **settings)


@pytest.mark.parametrize(
    ("name", "value", "theirs"),
    [
        ("embedding_dim", 512, 16),  # as in the preset, but asked for
        ("embedding_dim", 64, 16),
        ("num_layers", 1, 2),
        ("vocab_size", 50_257, 300),
        ("positions", "rotary", "'learned'"),
        ("context_length", 17, 16),
        ("tokenizer", "gpt2", "'bpe'"),
    ],
)
def test_a_setting_that_contradicts_the_weights_is_refused_by_name(parent, text, tmp_path, name, value, theirs):
    with pytest.raises(ValueError, match=rf"^{name} is {value!r}, but .* has {theirs}: leave it out") as error:
        train(
            OTHERS, data=text, init_from=parent.folder, run_folder=tmp_path / "tuned", progress=False, **{name: value}
        )
    assert str(parent.folder) in str(error.value)


def test_the_command_line_knows_what_was_asked_for(parent, text, tmp_path, capsys):
    options = ["--data", str(text), "--init-from", str(parent.folder), "--run-folder", str(tmp_path / "tuned")]
    steps = ["--max-iterations", "1", "--device", "cpu", "--evaluation-blocks", "4"]
    assert main(["train", "laptop", *options, *steps, "--embedding-dim", "256"]) == 1  # laptop's own
    assert "embedding_dim is 256" in capsys.readouterr().err
    assert main(["train", "laptop", *options, *steps, "--embedding-dim", "16", "--dropout", "0.3", "--json"]) == 0
    tuned = load_run(tmp_path / "tuned").config.model
    assert (tuned.embedding_dim, tuned.dropout, tuned.context_length) == (16, 0.3, 16)
    capsys.readouterr()
    assert main(["estimate", "laptop", *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == sum(map(torch.numel, parent.model.parameters()))
    assert main(["prepare", "laptop", *options, "--json"]) == 0
    folder = Path(json.loads(capsys.readouterr().out)["folder"])
    assert (folder / "tokenizer.json").read_text() == json.dumps(parent.tokenizer.to_json(), ensure_ascii=False)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_shorter_context_keeps_the_first_positions(parent, llama, architecture):
    run = parent if architecture == "gpt2" else llama
    config = OTHERS.replace(init_from=str(run.folder), context_length=6)
    start = starting_point(config, ["context_length"])
    assert start.config.model.context_length == start.model.config.context_length == 6
    ids = torch.arange(6)[None]
    best = load_run(run.folder).model
    torch.testing.assert_close(start.model.eval()(ids), best(ids), rtol=1e-6, atol=1e-6)


def test_gpt2s_tokenizer_is_known_by_its_fingerprint(gpt2_tokenizer):
    assert gpt2_tokenizer.fingerprint == _GPT2_FINGERPRINT


def test_gpt2s_own_weights_come_with_its_vocabulary(text, tmp_path, gpt2_tokenizer):
    """As in its first release, without a tokenizer's files."""
    settings = {"n_positions": 8, "n_embd": 4, "n_layer": 1, "n_head": 1}
    GPT2LMHeadModel(GPT2Config(**settings)).save_pretrained(tmp_path / "theirs")
    config = OTHERS.replace(data=str(text), init_from=str(tmp_path / "theirs"), max_iterations=1, tokenizer="bpe")
    tuned = quietly(config.replace(run_folder=str(tmp_path / "tuned")))
    assert tuned.config.dataset.tokenizer == "gpt2"
    assert tuned.tokenizer.fingerprint == gpt2_tokenizer.fingerprint


# --- What is no model ---


def refused(source: object, kind: type[Exception] = ValueError) -> str:
    with pytest.raises(kind) as error:
        read_weights(str(source))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_no_model_is_refused_with_what_to_do(parent, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_model(parent.model, path)
    assert "mine.safetensors has no tokenizer.json beside it" in refused(path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "is not a tokenizer file" in refused(path)
    path.write_bytes(path.read_bytes()[:-5])
    assert "is not a model file" in refused(path)
    for name in ("pytorch_model.bin", "model.pt"):
        (tmp_path / name).write_bytes(b"anything")
        assert "is a pickle, and loading a pickle can run code" in refused(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert "there is no checkpoint" in refused(tmp_path / "empty", FileNotFoundError)
    (tmp_path / "empty" / "step-000004").mkdir()
    assert "none of the 1 checkpoints" in refused(tmp_path / "empty")


def test_a_file_of_a_model_of_hugging_faces_is_answered_with_its_folder(parent, tmp_path):
    exported = parent.export(tmp_path / "exported")
    assert f"give its folder, {exported}" in refused(exported / "model.safetensors")


@pytest.mark.parametrize(
    "name", ["{}/nowhere", "~/nowhere", "~nobody-of-this-name/x", "./mine", "../mine", "a/b/c", "mine.safetensors"]
)
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path, name, monkeypatch):
    monkeypatch.setattr("tinyllm.training.initial_weights.fetch_model", lambda *_: pytest.fail("asked the Hub"))
    assert "there is no model at" in refused(name.format(tmp_path), FileNotFoundError)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    refused("models/laptpo", FileNotFoundError)


def test_a_model_and_a_tokenizer_of_different_sizes_are_refused(parent, tmp_path):
    exported = parent.export(tmp_path / "exported")
    SubWordTokenizer.train("a cat sat on a mat " * 9, 265).to_huggingface(exported)
    assert "the model has 300 tokens and the tokenizer 265" in refused(exported)


def test_claims_of_a_huge_size_take_no_memory(parent, tmp_path):
    exported = parent.export(tmp_path / "exported")
    settings = json.loads((exported / "config.json").read_text())
    claims = {"n_embd": 100_000, "n_head": 1, "vocab_size": 10_000_000, "n_layer": 100, "n_positions": 10_000_000}
    (exported / "config.json").write_text(json.dumps(settings | claims))
    assert "is not a GPT-2 or Llama that can be loaded" in refused(exported)
    save_file({"a": torch.zeros(1)}, exported / "model.safetensors")
    assert "the weights lack" in refused(exported)


def test_the_run_of_a_source_keeps_its_weights(parent, text, tmp_path):
    before = load_run(parent.folder).model.state_dict()
    quietly(OTHERS.replace(data=str(text), init_from=str(parent.folder), run_folder=str(tmp_path / "tuned")))
    assert equal(load_run(parent.folder).model.state_dict(), before)


def test_roles_leave_a_vocabulary_its_name_and_are_named_where_they_matter(parent, tmp_path, monkeypatch):
    monkeypatch.setattr("tinyllm.training.initial_weights._GPT2_FINGERPRINT", parent.tokenizer.fingerprint)
    config = OTHERS.replace(init_from=str(parent.folder), dialogues=True, tokenizer="gpt2")
    start = starting_point(config, given=["tokenizer"])
    assert start.config.dataset.tokenizer == "gpt2"
    size = parent.tokenizer.vocab_size
    with pytest.raises(ValueError, match=f"vocab_size is {size}, but .* with roles has {size + 3}"):
        starting_point(config.replace(vocab_size=size), given=["vocab_size"])
