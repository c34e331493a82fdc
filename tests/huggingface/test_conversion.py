"""GPT-2's and Llama's settings and weights, against transformers' own models: logits, gradients, and refusals."""

import dataclasses

import pytest
import torch
from their_models import assert_same, one_line, perturb, their_llama, their_model
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel

from tinyllm import GPT, KVCache, ModelConfig
from tinyllm.huggingface import from_huggingface, to_huggingface
from tinyllm.model.weights import adapt_model

ACTIVATIONS = [("gelu", "gelu"), ("gelu_tanh", "gelu_new"), ("gelu_tanh", "gelu_pytorch_tanh")]


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


@torch.no_grad()
def test_what_lora_learned_is_there_too(ids):
    base = GPT(ModelConfig(89, 24, 30, num_layers=3, num_heads=5, feedforward_dim=50, dropout=0.0, activation="gelu"))
    model = adapt_model(base, lora=3).eval()
    perturb(model)
    settings, weights = to_huggingface(model)
    theirs = GPT2Model(GPT2Config(**settings)).eval()
    assert not theirs.load_state_dict(weights, strict=False).unexpected_keys
    assert_same(model(ids), theirs(ids).last_hidden_state @ theirs.wte.weight.T)
    assert model.config.lora == 3, "the model itself keeps its corrections apart"


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


# --- Llama ---


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


# --- Files that lie ---


def test_parts_of_a_matrix_that_only_together_fit_are_refused_by_name():
    """As many rows as queries, keys and values have, but cut elsewhere: other heads."""
    reference = their_llama()
    weights = reference.state_dict()
    names = [f"model.layers.1.self_attn.{kind}_proj.weight" for kind in "qkv"]
    together = torch.cat([weights[name] for name in names])
    weights |= dict(zip(names, together.split([40, 8, 16]), strict=True))
    with pytest.raises(ValueError, match=r"layers\.1\.self_attn\.q_proj\.weight has shape \(40, 32\), expected"):
        from_huggingface(reference.config.to_dict(), weights)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensor: tensor.to(torch.int8), r"h\.1\.mlp\.c_fc\.weight is in torch\.int8"),
        (lambda tensor: tensor[None], r"feedforward\.expand\.weight has shape \(1, 30, 120\), expected \(120, 30\)"),
        (lambda tensor: tensor[0, 0], r"feedforward\.expand\.weight has shape \(\), expected \(120, 30\)"),
    ],
)
def test_a_tensor_of_another_kind_is_refused_by_name(change, reason):
    reference = their_model()
    weights = reference.state_dict()
    weights["transformer.h.1.mlp.c_fc.weight"] = change(weights["transformer.h.1.mlp.c_fc.weight"])
    with pytest.raises(ValueError, match=reason) as error:
        from_huggingface(reference.config.to_dict(), weights)
    one_line(error)
