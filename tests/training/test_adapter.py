"""Corrections in a file of their own: small, whole, and of use with their own model only."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_runs import quietly, small_run, write_text
from transformers import GPT2Config, GPT2LMHeadModel

from tinyllm import load_pretrained, load_run, save_model, train
from tinyllm.model.weights import adapt_model
from tinyllm.text.turns import Turns
from tinyllm.training.adapter import apply_adapter, save_adapter


@pytest.fixture(scope="module", params=["text", "dialogues"])
def tuned(request, uninterrupted, tmp_path_factory):
    """A run that corrects the small one: on other text, or on dialogues, whose roles are new tokens."""
    folder = tmp_path_factory.mktemp(request.param)
    data, settings = write_text(folder / "words.txt", 400), {}
    if request.param == "dialogues":
        messages = [{"role": "user", "content": "a cat ?"}, {"role": "assistant", "content": "my aunt ."}]
        data, settings = folder / "talk.jsonl", {"dialogues": True}
        data.write_text((json.dumps({"messages": messages}) + "\n") * 80)
    return quietly(small_run(data, folder / "run", init_from=str(uninterrupted), lora=4, max_iterations=5, **settings))


def test_a_model_and_its_adapter_are_the_tuned_model(tuned, uninterrupted, tmp_path):
    tuned.save_adapter(tmp_path / "mine.safetensors")
    loaded = load_pretrained(uninterrupted, "cpu", adapter=tmp_path / "mine.safetensors")
    ids = torch.arange(32).view(2, 16)
    assert loaded.tokenizer.fingerprint == tuned.tokenizer.fingerprint
    assert loaded.model.config.lora == 0
    assert not loaded.model.training
    torch.testing.assert_close(loaded.model(ids), tuned.model.eval()(ids))
    before = load_run(uninterrupted, device="cpu").model(ids)
    assert (loaded.model(ids)[..., : before.shape[-1]] - before).abs().max() > 1e-3


def test_the_file_holds_nothing_of_the_model_itself(tuned, tmp_path):
    tuned.save_adapter(tmp_path / "mine.safetensors")
    weights = load_file(tmp_path / "mine.safetensors")
    others = {name for name in weights if not name.endswith((".down", ".up"))}
    assert others == ({"token_embedding.roles"} if tuned.answers else set())
    assert sum(weight.numel() for weight in weights.values()) < count(tuned.model) / 3


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_another_model_is_refused(tuned, uninterrupted, tmp_path):
    tuned.save_adapter(tmp_path / "mine.safetensors")
    model = adapt_model(load_run(uninterrupted).model)
    with torch.no_grad():
        model.final_norm.weight[3] += 1e-4
    save_model(model, tmp_path / "other.safetensors")
    load_run(uninterrupted).tokenizer.save(tmp_path / "tokenizer.json")
    with pytest.raises(ValueError, match=r"mine\.safetensors belongs to another model"):
        load_pretrained(tmp_path / "other.safetensors", adapter=tmp_path / "mine.safetensors")


def test_what_is_no_adapter_is_refused(uninterrupted, tmp_path):
    run = load_run(uninterrupted)
    with pytest.raises(ValueError, match="without lora="):
        run.save_adapter(tmp_path / "none.safetensors")
    save_model(run.model, tmp_path / "model.safetensors")
    save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors", {"base": "", "context_length": "16"})
    (tmp_path / "text.safetensors").write_text("no tensors here")
    for name in ("model", "x", "text"):
        with pytest.raises(ValueError, match=f"{name}.safetensors is not an adapter"):
            apply_adapter(run.model, run.tokenizer, tmp_path / f"{name}.safetensors")
    with pytest.raises(FileNotFoundError):
        apply_adapter(run.model, run.tokenizer, tmp_path / "gone.safetensors")


def test_a_rank_that_does_not_fit_is_refused(tuned, uninterrupted, tmp_path):
    save_adapter(tuned.model, tuned.tokenizer, tmp_path / "mine.safetensors")
    weights = load_file(tmp_path / "mine.safetensors")
    weights = {name: weight[:3] if name.endswith(".down") else weight for name, weight in weights.items()}
    save_file(weights, tmp_path / "other.safetensors", {"base": "0", "context_length": "16"})
    with pytest.raises(ValueError, match="belongs to another model"):
        load_pretrained(uninterrupted, adapter=tmp_path / "other.safetensors")


def rewritten(run, folder, change):
    """The run's adapter with its weights changed."""
    run.save_adapter(folder / "mine.safetensors")
    with safe_open(folder / "mine.safetensors", "pt") as file:
        metadata = file.metadata()
    save_file(change(load_file(folder / "mine.safetensors")), folder / "other.safetensors", metadata)
    return folder / "other.safetensors"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_adapter_may_be_in_half_precision(tuned, uninterrupted, tmp_path, dtype):
    path = rewritten(tuned, tmp_path, lambda weights: {name: weight.to(dtype) for name, weight in weights.items()})
    loaded = load_pretrained(uninterrupted, "cpu", adapter=path).model
    ids = torch.arange(32).view(2, 16)
    torch.testing.assert_close(loaded(ids), tuned.model.eval()(ids), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("shape", [(), (1, 16), (3, 5), (4, 16)])
def test_embeddings_of_roles_that_do_not_fit_are_refused(tuned, uninterrupted, tmp_path, shape):
    path = rewritten(tuned, tmp_path, lambda weights: weights | {"token_embedding.roles": torch.ones(shape)})
    with pytest.raises(ValueError, match=r"other\.safetensors belongs to another model"):
        load_pretrained(uninterrupted, "cpu", adapter=path)


def test_an_adapter_of_a_shorter_context_fits_its_model(uninterrupted, text, tmp_path):
    config = small_run(text, tmp_path / "run", init_from=str(uninterrupted), lora=4, max_iterations=2)
    run = train(config, progress=False, context_length=8)
    run.save_adapter(tmp_path / "mine.safetensors")
    loaded = load_pretrained(uninterrupted, "cpu", adapter=tmp_path / "mine.safetensors").model
    ids = torch.arange(16).view(2, 8)
    assert loaded.config.context_length == 8
    torch.testing.assert_close(loaded(ids), run.model.eval()(ids))


def test_gpt2_itself_learns_to_answer_and_its_adapter_belongs_to_it(tmp_path):
    """Hugging Face's own layout with GPT-2's whole vocabulary, which gets the roles: what chapter 13 ends with."""
    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(GPT2Config(n_positions=24, n_embd=16, n_layer=1, n_head=2)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    messages = [{"role": "user", "content": "Who sings ?"}, {"role": "assistant", "content": "My aunt ."}]
    (tmp_path / "talk.jsonl").write_text((json.dumps({"messages": messages}) + "\n") * 40)
    tuned = train(
        "laptop", data=str(tmp_path / "talk.jsonl"), dialogues=True, init_from=str(tmp_path / "theirs"), lora=8,
        run_folder=str(tmp_path / "run"), max_iterations=2, batch_size=2, gradient_accumulation_steps=1,
        warmup_iterations=0, evaluation_interval=2, evaluation_blocks=2, context_length=16, device="cpu",
        precision="float32", max_learning_rate=2e-2, min_learning_rate=2e-3, progress=False,
    )  # fmt: skip
    roles = list(Turns.of(tuned.tokenizer)[1:])
    assert roles == [50257, 50258, 50259]
    tuned.save_adapter(tmp_path / "mine.safetensors")
    loaded = load_pretrained(tmp_path / "theirs", "cpu", adapter=tmp_path / "mine.safetensors")
    ids = torch.tensor([[50256, roles[1], 8241, 27733, roles[2], 3666, 25949]])
    torch.testing.assert_close(loaded.model(ids), tuned.model(ids), atol=1e-5, rtol=1e-5)
    said = tuned.answer("Who sings ?", seed=1, maximum_length=3)
    assert said
    assert loaded.answer("Who sings ?", seed=1, maximum_length=3) == said
    text = torch.arange(12)[None]
    with torch.no_grad():
        change = loaded.model(text)[..., :50257] - theirs(text).logits
    assert change.abs().max() > 1e-3, "nothing was learned"
