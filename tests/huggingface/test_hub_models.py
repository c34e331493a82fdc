"""Models from the Hub: a stand-in for it on this machine, its cache, and what it does not have."""

import json
import os

import pytest
import torch
from model_hub import model_hub
from their_models import assert_same, one_line, their_llama, their_model

from tinyllm import SubWordTokenizer
from tinyllm.huggingface.hub_models import fetch_model
from tinyllm.huggingface.loading import load_gpt2

NAME = "someone/small"


def fetched(server) -> list[str]:
    return [path.rpartition("/")[2] for path in server.requests if path.startswith(f"/{NAME}/")]


def test_an_unreachable_hub_is_one_line_with_the_way_out():
    with pytest.raises(ConnectionError, match=r"could not reach .*'gpt2'.*folder") as error:
        load_gpt2("gpt2", device="cpu")
    assert os.environ["HF_ENDPOINT"] in one_line(error)


@torch.no_grad()
@pytest.mark.parametrize("size", ["20KB", "1GB"])
@pytest.mark.parametrize("make", [their_model, their_llama])
def test_weights_come_from_the_hub_once_and_then_from_its_cache(tmp_path, monkeypatch, ids, make, size):
    reference = make()
    reference.save_pretrained(tmp_path / "model", max_shard_size=size)
    expected = reference(ids).logits
    with model_hub({NAME: tmp_path / "model"}, tmp_path / "cache", monkeypatch) as server:
        assert_same(load_gpt2(NAME, device="cpu")(ids), expected)
        assert "tokenizer.json" not in fetched(server)
        with pytest.raises(ConnectionError, match="could not load 'someone/no-such-model' from the Hub") as error:
            load_gpt2("someone/no-such-model", device="cpu")
        one_line(error)
    assert_same(load_gpt2(NAME, device="cpu")(ids), expected)  # the server is gone


def test_a_tokenizer_comes_with_the_model_also_after_its_weights(tmp_path, monkeypatch):
    model, cache = tmp_path / "model", tmp_path / "cache"
    their_model().save_pretrained(model)
    SubWordTokenizer.train("a cat sat on a mat " * 9, 265).to_huggingface(model)
    with model_hub({NAME: model}, cache, monkeypatch) as server:
        weights_alone = fetch_model(NAME, tokenizer=False)
        assert not (weights_alone / "tokenizer.json").exists()
        assert (fetch_model(NAME) / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()
        before = len(server.requests)
        assert (fetch_model(NAME) / "vocab.json").exists()
        assert len(server.requests) == before, "all of it is in the cache"
        assert fetched(server)[-2:] == ["merges.txt", "tokenizer.model"][:0] or "pytorch_model.bin" not in fetched(
            server
        )


def test_weights_without_a_tokenizer_are_used_where_the_hub_cannot_be_reached(tmp_path, monkeypatch):
    their_model().save_pretrained(tmp_path / "model")
    with model_hub({NAME: tmp_path / "model"}, tmp_path / "cache", monkeypatch):
        folder = fetch_model(NAME, tokenizer=False)
    assert fetch_model(NAME) == folder


def test_a_fetch_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    model, cache = tmp_path / "model", tmp_path / "cache"
    their_llama().save_pretrained(model, max_shard_size="20KB")
    last = sorted(model.glob("model-*.safetensors"))[-1]
    content = last.read_bytes()
    with model_hub({NAME: model}, cache, monkeypatch):
        last.unlink()
        with pytest.raises(ConnectionError, match=f"could not load {NAME!r}"):
            fetch_model(NAME)
        last.write_bytes(content)
        assert (fetch_model(NAME) / last.name).read_bytes() == content


def test_what_the_hub_has_is_not_believed(tmp_path, monkeypatch):
    """A model with nothing but a pickle is refused with the reason; an index is judged before its files are fetched."""
    pickled, lying = tmp_path / "pickled", tmp_path / "lying"
    for folder in (pickled, lying):
        their_model().config.save_pretrained(folder)
    (pickled / "pytorch_model.bin").write_bytes(b"anything")
    (lying / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../secret"}}))
    with model_hub({"a/pickled": pickled, "a/lying": lying}, tmp_path / "cache", monkeypatch) as server:
        with pytest.raises(ValueError, match=r"'a/pickled' has no model\.safetensors.*can run code") as error:
            fetch_model("a/pickled")
        one_line(error)
        with pytest.raises(ValueError, match=r"names '\.\./\.\./secret'"):
            fetch_model("a/lying")
        assert not [path for path in server.requests if "pytorch_model.bin" in path or "secret" in path]


def test_a_model_that_changes_while_it_is_fetched_is_not_mixed(tmp_path, monkeypatch):
    their_model().save_pretrained(tmp_path / "model")
    with model_hub({NAME: tmp_path / "model"}, tmp_path / "cache", monkeypatch) as server:
        commits = iter("ab")
        monkeypatch.setattr(type(server), "commit", property(lambda _: next(commits, "c") * 40, lambda *_: None), False)
        with pytest.raises(ConnectionError, match="changed on the Hub while it was fetched"):
            fetch_model(NAME)
