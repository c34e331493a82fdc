"""Runs as transformers reads them: the same logits, ids and text there, a card with the run's numbers, nothing lost."""

import json
import math
from pathlib import Path

import pytest
import torch
from small_runs import quietly, small_run, write_text
from transformers import AutoModelForCausalLM, AutoTokenizer

from tinyllm import CharacterTokenizer, Run, load_pretrained, load_run
from tinyllm.__main__ import main
from tinyllm.huggingface.export import export_model
from tinyllm.huggingface.model_card import Facts

LLAMA = {"activation": "swiglu", "norm": "rmsnorm", "positions": "rotary", "bias": False, "num_kv_heads": 1}
GPT2 = {"activation": "gelu_tanh"}
FACTS = Facts(
    parameters=1, data="words.txt", iterations=1, tokens=1, held_out_loss=None, init_from=None, answers=False
)  # fmt: skip
ODD = [
    "", "a cat", " ", "\n\n  a\t", "caf\u00e9 e\u0301", "日本語 🐈\u200d⬛", "\u202e\ufeff\x00\x7f", "don't 1234567 !!",
    "<|endoftext|>", "<|endoftext|", "\ud7ff\uffff",
]  # fmt: skip


@pytest.fixture(scope="module", params=[GPT2, LLAMA], ids=["gpt2", "llama"])
def run(request, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    text = write_text(folder / "words.txt", 300)
    settings = {"context_length": 32, "max_iterations": 40, "max_learning_rate": 3e-2} | request.param
    return quietly(small_run(text, folder / "run", **settings))


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("exported") / "new" / "model"
    assert main(["export", str(run.folder), "--to", "huggingface", str(target)]) == 0
    return target


@torch.no_grad()
def test_the_logits_are_the_same_there(run, exported):
    model, info = AutoModelForCausalLM.from_pretrained(exported, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(run.model.config.vocab_size, (2, 32), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(ids).logits, load_run(run.folder).model(ids), rtol=1e-5, atol=1e-5)


def test_the_tokenizer_gives_the_same_ids_there(run, exported):
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert len(tokenizer) == run.tokenizer.vocab_size
    for text in [*ODD, "".join(ODD), *(f"{one}<|endoftext|>{one}" for one in ODD)]:
        expected = run.tokenizer.encode(text, allowed_special=["<|endoftext|>"])
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == expected, text
        assert tokenizer(text)["input_ids"] == [run.tokenizer.end_of_text_id, *expected]
        assert tokenizer.decode(expected) == run.tokenizer.decode(expected)


@pytest.mark.parametrize("prompt", ["a cat", "", "nobody "])
def test_greedy_text_is_the_same_there(run, exported, prompt):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(exported), AutoTokenizer.from_pretrained(exported)
    inputs = tokenizer(prompt, return_tensors="pt")
    room = 32 - inputs["input_ids"].shape[1]
    ids = model.generate(**inputs, max_new_tokens=room, do_sample=False)[0]
    expected = load_run(run.folder).generate(prompt, maximum_length=room, temperature=0)
    assert tokenizer.decode(ids, skip_special_tokens=True) == expected
    assert len(expected) > len(prompt)


def test_generation_ends_there_at_the_separator(run, exported):
    model = AutoModelForCausalLM.from_pretrained(exported)
    end = run.tokenizer.end_of_text_id
    assert (model.generation_config.eos_token_id, model.generation_config.bos_token_id) == (end, end)
    assert model.config.pad_token_id is None, "an embedding that never learns"
    assert json.loads((exported / "config.json").read_text())["eos_token_id"] == end
    assert AutoTokenizer.from_pretrained(exported).eos_token == "<|endoftext|>"


def test_the_card_has_the_runs_numbers(run, exported):
    card = (exported / "README.md").read_text()
    loaded = load_run(run.folder)
    loss = {point["iteration"]: point["validation_loss"] for point in run.history if "validation_loss" in point}
    measured = loss[loaded.iteration]
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    for what, value in {
        "parameters": f"{parameters:,}", "trained on": "words.txt", "optimizer steps": str(loaded.iteration),
        "tokens seen": f"{loaded.iteration * 8 * 32:,}", "held-out loss": f"{measured:.4f} nats per token",
        "perplexity per token": f"{math.exp(measured):.4g}",
    }.items():  # fmt: skip
        assert f"| {what} | {value} |" in card
    assert str(run.folder.parent) not in card
    assert 'from_pretrained("model")' in card
    header = card.split("---")[1]
    assert "license" not in header, "for the author to choose"
    assert "license:" in card.removeprefix(f"---{header}")


def test_it_comes_back_as_it_was(run, exported):
    again, loaded = load_pretrained(exported, device="cpu"), load_run(run.folder)
    assert again.tokenizer.fingerprint == run.tokenizer.fingerprint
    assert again.model.config.__dict__ | {"num_kv_heads": None} == loaded.model.config.__dict__ | {"num_kv_heads": None}
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
    modes = {path.stat().st_mode for path in exported.iterdir()}
    assert len(modes) == 1, "all files have the same rights"


def failure(capsys, *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_nothing_is_overwritten_and_a_wrong_call_says_how(uninterrupted, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        message = failure(capsys, "export", uninterrupted, "--to", "huggingface", tmp_path / name)
        assert f"{tmp_path / name} is there already" in message
    assert (tmp_path / "full" / "notes.txt").read_text() == (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert main(["export", str(uninterrupted), "--to", "huggingface", str(tmp_path / "empty")]) == 0
    assert (tmp_path / "empty" / "README.md").exists()
    capsys.readouterr()
    for rest in ([], ["--to", "huggingface"], ["--to", "gguf", tmp_path / "new"], ["--to", "huggingface", "a", "b"]):
        assert "--to huggingface NEW_FOLDER" in failure(capsys, "export", uninterrupted, *rest)
    assert "no run folder" in failure(capsys, "export", tmp_path / "none", "--to", "huggingface", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    for name in ("file/x", "file/x/y"):
        message = failure(capsys, "export", uninterrupted, "--to", "huggingface", tmp_path / name)
        assert f"{tmp_path / 'file'} is a file" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "relu_squared"}, "activation 'relu_squared' does not exist in a gpt2"),
        ({"norm": "rmsnorm"}, "norm 'rmsnorm' does not exist in a gpt2"),
        (LLAMA | {"qk_norm": True}, "qk_norm True does not exist in a llama"),
        (
            LLAMA | {"qk_norm": True, "logit_softcap": 30.0},  # all at once: each needs a new run
            "qk_norm True does not exist in a llama, only False; logit_softcap 30.0 does not exist in a llama",
        ),
    ],
)
def test_a_choice_that_neither_has_is_refused_by_name_and_leaves_nothing(text, tmp_path, change, message, capsys):
    quietly(small_run(text, tmp_path / "run", max_iterations=1, **change))
    assert message in failure(capsys, "export", tmp_path / "run", "--to", "huggingface", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_tokenizer_that_does_not_exist_there_is_refused_by_name(model_of_ours, tmp_path):
    with pytest.raises(ValueError, match="tokenizer 'character' cannot be exported"):
        export_model(model_of_ours, CharacterTokenizer("abc"), tmp_path / "new", FACTS)


def test_a_full_disk_leaves_nothing(uninterrupted, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinyllm.huggingface.export.model_card", full)
    with pytest.raises(OSError, match=r"No space left on device.*new"):
        load_run(uninterrupted).export(tmp_path / "new")
    assert not list(tmp_path.iterdir())
