"""GPT-2 and Llama in Hugging Face's layout, against transformers' own, and where its weights come from."""

import dataclasses
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model, LlamaConfig, LlamaForCausalLM, LlamaModel

from tinyllm import GPT, KVCache, ModelConfig
from tinyllm.huggingface import from_huggingface, load_gpt2, to_huggingface

ACTIVATIONS = [("gelu", "gelu"), ("gelu_tanh", "gelu_new"), ("gelu_tanh", "gelu_pytorch_tanh")]
SETTINGS = {"vocab_size": 89, "n_positions": 24, "n_embd": 30, "n_layer": 3, "n_head": 5, "bos_token_id": 0}


def perturb(model: torch.nn.Module) -> None:
    """Perturb every weight, norms and biases too, enough that attention is not flat."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)


def their_model(**settings) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**SETTINGS, eos_token_id=0, **settings)).eval()
    perturb(model)
    return model


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(89, (3, 24), generator=torch.Generator().manual_seed(2))


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.std() > 0.5, "too flat to tell models apart"
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("activation", "theirs"), ACTIVATIONS)
@pytest.mark.parametrize("inner", [None, 50])
def test_their_gpt2_gives_the_same_logits_as_ours(ids, activation, theirs, inner):
    reference = their_model(activation_function=theirs, n_inner=inner)
    model = from_huggingface(reference.config.to_dict(), reference.state_dict())
    assert model.config.activation == activation
    assert model.config.feedforward_dim == (inner or 4 * 30)
    assert not model.training
    assert_same(model(ids), reference(ids).logits)


@torch.no_grad()
@pytest.mark.parametrize(("activation", "theirs"), ACTIVATIONS[:2])
def test_our_model_gives_the_same_logits_as_their_gpt2(ids, activation, theirs):
    config = ModelConfig(89, 24, 30, num_layers=3, num_heads=5, feedforward_dim=50, dropout=0.2, activation=activation)
    torch.manual_seed(0)
    model = GPT(config).eval()
    perturb(model)
    settings, weights = to_huggingface(model)
    assert settings["activation_function"] == theirs
    base = GPT2Model(GPT2Config(**settings))
    found = base.load_state_dict(weights, strict=False)
    assert not found.unexpected_keys
    assert all(name.endswith((".attn.bias", ".attn.masked_bias")) for name in found.missing_keys)  # masks, not weights
    hidden = base.eval()(ids).last_hidden_state
    assert_same(model(ids), hidden @ base.wte.weight.T)
    again = from_huggingface(settings, weights)
    assert again.config == config
    for (name, one), other in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_gradients_are_theirs(ids):
    reference = their_model(activation_function="gelu")
    model = from_huggingface(reference.config.to_dict(), reference.state_dict())
    loss = model(ids[:, :-1], ids[:, 1:])
    expected = reference(ids, labels=ids).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    block, theirs = model.blocks[1], reference.transformer.h[1]
    pairs = [
        (model.token_embedding.weight, reference.transformer.wte.weight.grad),
        (model.position_embedding.weight, reference.transformer.wpe.weight.grad),
        (block.attention.qkv.weight, theirs.attn.c_attn.weight.grad.T),
        (block.attention.projection.bias, theirs.attn.c_proj.bias.grad),
        (block.feedforward.expand.weight, theirs.mlp.c_fc.weight.grad.T),
        (block.feedforward_norm.weight, theirs.ln_2.weight.grad),
        (model.final_norm.bias, reference.transformer.ln_f.bias.grad),
    ]
    for parameter, gradient in pairs:
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_a_loaded_model_owns_its_weights(ids):
    reference = their_model()
    model = from_huggingface(reference.config.to_dict(), reference.state_dict())
    before = model(ids)
    for parameter in reference.parameters():
        parameter.zero_()
    torch.testing.assert_close(model(ids), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activation_function", "relu"),
        ("model_type", "mistral"),
        ("layer_norm_epsilon", 1e-6),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("tie_word_embeddings", False),
    ],
)
def test_a_model_that_ours_cannot_express_is_refused_by_setting(name, value):
    reference = their_model()
    with pytest.raises(ValueError, match=rf"{name} {value!r} "):
        from_huggingface(reference.config.to_dict() | {name: value}, reference.state_dict())


def test_weights_that_do_not_fit_are_refused_by_name():
    reference = their_model()
    settings, weights = reference.config.to_dict(), reference.state_dict()
    lacking = {name: tensor for name, tensor in weights.items() if name != "transformer.h.1.mlp.c_fc.bias"}
    with pytest.raises(ValueError, match=r"lack h\.1\.mlp\.c_fc\.bias"):
        from_huggingface(settings, lacking)
    with pytest.raises(ValueError, match=r"position_embedding.*\(24, 30\).*\(25, 30\)"):
        from_huggingface(settings | {"n_positions": 25}, weights)


# --- From a folder ---


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


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


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


# --- From the Hub ---


def test_an_unreachable_hub_is_one_line_with_the_way_out():
    with pytest.raises(ConnectionError, match=r"could not reach .*'gpt2'.*folder") as error:
        load_gpt2("gpt2", device="cpu")
    assert os.environ["HF_ENDPOINT"] in one_line(error)


class Hub(http.server.BaseHTTPRequestHandler):
    """What downloading one file needs of the Hub: HEAD describes it, GET sends it."""

    folder: Path

    def do_HEAD(self, body: bool = False) -> None:
        prefix = "/someone/small-gpt2/resolve/main/"
        file = self.folder / self.path.removeprefix(prefix)
        if self.path != "/" and not (self.path.startswith(prefix) and file.is_file()):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes() if self.path != "/" else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{file.name}-1"')
        self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.do_HEAD(body=True)

    def log_message(self, *arguments) -> None:
        pass


SCRIPT = """
import sys, torch
from tinyllm.huggingface import load_gpt2
try:
    model = load_gpt2(sys.argv[1], device="cpu")
except ConnectionError as error:
    print(error)
else:
    torch.save(model(torch.arange(20)[None]).detach(), sys.argv[2])
"""


def test_weights_come_from_the_hub_once_and_then_from_its_cache(saved, tmp_path):
    """In processes of their own, since the Hub's client reads its address when it is imported."""
    result = tmp_path / "logits.pt"

    def load(name: str, endpoint: str) -> str:
        environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home")}
        result.unlink(missing_ok=True)
        command = [sys.executable, "-c", SCRIPT, name, str(result)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    with torch.no_grad():
        expected = GPT2LMHeadModel.from_pretrained(saved).eval()(torch.arange(20)[None]).logits
    handler = type("Handler", (Hub,), {"folder": saved})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        assert load("someone/small-gpt2", endpoint) == ""
        assert_same(torch.load(result), expected)
        message = load("someone/no-such-model", endpoint)
        assert "could not load 'someone/no-such-model' from the Hub" in message
        assert message.count("\n") == 1
        assert not result.exists()
        server.shutdown()
    assert load("someone/small-gpt2", endpoint) == ""  # the server is gone
    assert_same(torch.load(result), expected)


# --- Llama ---

LLAMA = {
    "vocab_size": 89, "max_position_embeddings": 24, "hidden_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 50, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}  # fmt: skip


def their_llama(**settings) -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**LLAMA | settings)).eval()
    perturb(model)
    return model


def llama_config(**choices) -> ModelConfig:
    return ModelConfig(
        89, 24, 32, num_layers=3, num_heads=4, feedforward_dim=50, dropout=0.0, activation="swiglu", norm="rmsnorm",
        positions="rotary", bias=False, **{"num_kv_heads": 2} | choices,
    )  # fmt: skip


def cached(model: GPT, ids: torch.Tensor) -> torch.Tensor:
    """The logits of a prefill, then of several tokens at once, then of one at a time."""
    cache = KVCache(model.config, len(ids), ids.device, torch.float32)
    return torch.cat([model(part, cache=cache) for part in ids.split([7, 5, *[1] * 12], dim=1)], dim=1)


@torch.no_grad()
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_their_llama_gives_the_same_logits_as_ours(ids, kv_heads):
    reference = their_llama(num_key_value_heads=kv_heads)
    model = from_huggingface(reference.config.to_dict(), reference.state_dict())
    assert model.config == llama_config(num_kv_heads=kv_heads)
    assert not model.training
    expected = reference(ids).logits
    assert_same(model(ids), expected)
    assert_same(cached(model, ids), expected)
    past, theirs = None, []
    for part in ids.split([7, 5, *[1] * 12], dim=1):
        out = reference(part, past_key_values=past, use_cache=True)
        past = out.past_key_values
        theirs.append(out.logits)
    assert_same(cached(model, ids), torch.cat(theirs, dim=1))


@torch.no_grad()
@pytest.mark.parametrize("kv_heads", [None, 1, 2])
def test_our_llama_gives_the_same_logits_as_theirs(ids, kv_heads):
    torch.manual_seed(0)
    model = GPT(llama_config(num_kv_heads=kv_heads, zero_init=True)).eval()
    perturb(model)
    settings, weights = to_huggingface(model)
    assert settings["num_key_value_heads"] == kv_heads  # None means the same there
    base = LlamaModel(LlamaConfig(**settings))
    base.load_state_dict(weights, strict=True)
    hidden = base.eval()(ids).last_hidden_state
    assert_same(model(ids), hidden @ base.embed_tokens.weight.T)
    assert_same(cached(model, ids), hidden @ base.embed_tokens.weight.T)
    again = from_huggingface(settings, weights)
    for (name, one), other in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_a_llamas_gradients_are_theirs(ids):
    reference = their_llama()
    model = from_huggingface(reference.config.to_dict(), reference.state_dict())
    loss, expected = model(ids[:, :-1], ids[:, 1:]), reference(ids, labels=ids).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    block, theirs = model.blocks[1], reference.model.layers[1]
    fused = [theirs.self_attn.q_proj, theirs.self_attn.k_proj, theirs.self_attn.v_proj]
    pairs = [
        (model.token_embedding.weight, reference.model.embed_tokens.weight.grad),
        (block.attention.qkv.weight, torch.cat([matrix.weight.grad for matrix in fused])),
        (block.attention.projection.weight, theirs.self_attn.o_proj.weight.grad),
        (block.feedforward.gate.weight, theirs.mlp.gate_proj.weight.grad),
        (block.feedforward.expand.weight, theirs.mlp.up_proj.weight.grad),
        (block.feedforward_norm.weight, theirs.post_attention_layernorm.weight.grad),
    ]
    for parameter, gradient in pairs:
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tie_word_embeddings", False),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("hidden_act", "gelu"),
        ("rms_norm_eps", 1e-6),
        ("rope_theta", 500_000.0),
        ("rope_scaling", {"rope_type": "linear", "factor": 2.0}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 500_000.0}),
        ("head_dim", 16),
    ],
)
def test_a_llama_that_ours_cannot_express_is_refused_by_setting(name, value):
    reference = their_llama()
    settings, weights = reference.config.to_dict(), reference.state_dict()
    with pytest.raises(ValueError, match=f"^{name} .*only") as error:
        from_huggingface(settings | {name: value}, weights)
    assert repr(value) in one_line(error)


@pytest.mark.parametrize("name", ["tie_word_embeddings", "rms_norm_eps"])
def test_what_a_llamas_settings_leave_out_has_transformers_default(name):
    reference = their_llama()
    settings = reference.config.to_dict()
    del settings[name]
    with pytest.raises(ValueError, match=f"{name} {getattr(LlamaConfig(), name)!r} is not supported"):
        from_huggingface(settings, reference.state_dict())


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ({"qk_norm": True}, "llama"),
        ({"norm": "layernorm"}, "llama"),
        ({"activation": "relu_squared"}, "llama"),
        ({"logit_softcap": 30.0}, "llama"),
        ({"bias": True}, "llama"),
        ({"positions": "learned"}, "gpt2"),
        ({"positions": "learned", "norm": "layernorm"}, "gpt2"),
        ({"positions": "learned", "norm": "layernorm", "bias": True}, "gpt2"),
        ({"positions": "learned", "norm": "layernorm", "bias": True, "activation": "gelu"}, "gpt2"),
    ],
)
def test_a_model_of_ours_that_neither_has_is_refused_by_field(choice, kind):
    config = dataclasses.replace(llama_config(), **choice)
    with pytest.raises(ValueError, match=rf"^(\w+) .*{kind}") as error:
        to_huggingface(GPT(config))
    assert one_line(error).split()[0] in (*vars(config),)
