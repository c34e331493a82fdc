"""The transformer, against attention written out in full and against transformers' Qwen3."""

import dataclasses
import itertools
import math
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from transformers import Qwen3Config, Qwen3ForCausalLM

from tinyllm import GPT, CausalSelfAttention, FeedForward, KVCache, ModelConfig, load_model, save_model
from tinyllm.config import Activation, Norm
from tinyllm.model import loss as loss_module
from tinyllm.model.dropout_attention import dropout_attention
from tinyllm.model.rotary import rotate


def random_ids(config: ModelConfig, batch: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["classic", "modern"])
def config(request, tiny_config, modern_config) -> ModelConfig:
    return tiny_config if request.param == "classic" else modern_config


def perturbed(config: ModelConfig) -> GPT:
    """Weights far larger than at the start of training, so that attention is not flat and a mistake shows."""
    torch.manual_seed(0)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture
def model(config) -> GPT:
    return perturbed(config)


def slow_attention(layer: CausalSelfAttention, x: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V, one token, one head at a time."""
    B, T, C = x.shape
    D = C // layer.num_heads
    q, k, v = (x @ layer.qkv.weight.T + layer.qkv.bias).split(C, dim=-1)
    y = torch.zeros(B, T, C)
    for b, t, h in itertools.product(range(B), range(T), range(layer.num_heads)):
        part = slice(h * D, (h + 1) * D)
        scores = torch.stack([q[b, t, part] @ k[b, s, part] / math.sqrt(D) for s in range(t + 1)])
        weights = torch.exp(scores) / torch.exp(scores).sum()
        y[b, t, part] = sum(weights[s] * v[b, s, part] for s in range(t + 1))
    return y @ layer.projection.weight.T + layer.projection.bias


@torch.no_grad()
def test_attention_is_softmax_of_scaled_products_over_the_past(tiny_config):
    layer = perturbed(tiny_config).blocks[1].attention
    x = torch.randn(2, 7, tiny_config.embedding_dim)
    torch.testing.assert_close(layer(x), slow_attention(layer, x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", get_args(Activation))
def test_feedforward_uses_the_activation_that_the_config_names(activation, bias):
    config = ModelConfig(embedding_dim=8, num_heads=1, feedforward_dim=16, activation=activation, bias=bias)
    layer = FeedForward(config)
    x = 10 * torch.randn(3, 5, 8)

    def apply(linear: torch.nn.Linear, x: Tensor) -> Tensor:
        return x @ linear.weight.T + (linear.bias if bias else 0)

    z = apply(layer.expand, x)
    if activation == "gelu":
        z = z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    elif activation == "gelu_tanh":
        z = z * 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    elif activation == "relu_squared":
        z = torch.where(z > 0, z * z, 0)
    else:
        gate = apply(layer.gate, x)
        z = z * gate / (1 + torch.exp(-gate))
    torch.testing.assert_close(layer(x), apply(layer.projection, z), rtol=1e-5, atol=1e-6)


# --- The choices since GPT-2; for RMSNorm, rotary positions, SwiGLU and grouped queries see also test_huggingface ---


@torch.no_grad()
def test_rotary_positions_are_a_multiplication_of_complex_numbers():
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    pairs = torch.complex(x[..., :4], x[..., 4:])
    for start in (0, 11):
        angles = torch.tensor([[(start + t) * 10_000 ** (-2 * i / 8) for i in range(4)] for t in range(5)])
        turned = pairs * torch.exp(1j * angles.double())
        expected = torch.cat([turned.real, turned.imag], dim=-1)
        torch.testing.assert_close(rotate(x, start), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_rotated_queries_and_keys_know_only_how_far_apart_they_are():
    q, k = torch.randn(2, 1, 1, 12, 16, dtype=torch.float64)
    at = [[rotate(x, start) for x in (q, k)] for start in (0, 100)]
    products = [one @ other.mT for one, other in at]
    torch.testing.assert_close(products[0], products[1], rtol=1e-4, atol=1e-4)
    assert (products[0] - q @ k.mT).abs().max() > 0.1


@torch.no_grad()
def test_qk_norm_gives_the_logits_of_transformers_qwen3():
    """Qwen3 is a Llama with RMSNorm on each head's queries and keys."""
    torch.manual_seed(0)
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=89, max_position_embeddings=24, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, intermediate_size=50, rms_norm_eps=1e-5, tie_word_embeddings=True,
        )
    ).eval()  # fmt: skip
    for parameter in theirs.parameters():
        parameter += 0.2 * torch.randn_like(parameter)
    config = ModelConfig(
        89, 24, 32, num_layers=2, num_heads=4, feedforward_dim=50, activation="swiglu", norm="rmsnorm",
        positions="rotary", num_kv_heads=2, qk_norm=True, bias=False,
    )  # fmt: skip
    model = GPT(config).eval()
    weights = {
        "token_embedding.weight": theirs.model.embed_tokens.weight,
        "final_norm.weight": theirs.model.norm.weight,
    }
    for number, layer in enumerate(theirs.model.layers):
        attention, mlp = layer.self_attn, layer.mlp
        ours = {
            "attention_norm": layer.input_layernorm.weight,
            "attention.qkv": torch.cat(
                [part.weight for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
            ),
            "attention.query_norm": attention.q_norm.weight,
            "attention.key_norm": attention.k_norm.weight,
            "attention.projection": attention.o_proj.weight,
            "feedforward_norm": layer.post_attention_layernorm.weight,
            "feedforward.gate": mlp.gate_proj.weight,
            "feedforward.expand": mlp.up_proj.weight,
            "feedforward.projection": mlp.down_proj.weight,
        }
        weights |= {f"blocks.{number}.{name}.weight": weight for name, weight in ours.items()}
    model.load_state_dict(weights)
    ids = random_ids(config, 3, 24)
    torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_grouped_queries_are_full_attention_with_keys_and_values_repeated(tiny_config, dropout):
    """Also with dropout, where attention is the package's own."""
    grouped = dataclasses.replace(tiny_config, embedding_dim=32, num_heads=4, num_kv_heads=2, dropout=dropout)
    full = dataclasses.replace(grouped, num_kv_heads=None)
    layer, other = CausalSelfAttention(grouped), CausalSelfAttention(full)

    def repeat(tensor: Tensor) -> Tensor:
        """Rows of queries, of two heads of keys, of two heads of values: each of the heads twice."""
        q, k, v = tensor.split([32, 16, 16])
        return torch.cat([q, *(t.unflatten(0, (2, 8)).repeat_interleave(2, dim=0).flatten(0, 1) for t in (k, v))])

    state = layer.state_dict()
    other.load_state_dict(state | {name: repeat(state[name]) for name in ("qkv.weight", "qkv.bias")})
    x = torch.randn(2, 9, 32)
    results = []
    for one in (layer, other):
        torch.manual_seed(1)
        results.append(one(x))
    torch.testing.assert_close(*results)
    assert KVCache(grouped, 3, x.device, x.dtype).keys.shape == (2, 3, 2, 16, 8)


@torch.no_grad()
def test_zero_initialised_projections_let_the_stream_pass(tiny_config):
    model = GPT(dataclasses.replace(tiny_config, zero_init=True))
    x = torch.randn(1, 5, tiny_config.embedding_dim)
    for block in model.blocks:
        assert torch.equal(block(x), x)
    zero = [name for name, parameter in model.named_parameters() if parameter.dim() == 2 and not parameter.any()]
    assert len(zero) == 2 * tiny_config.num_layers
    assert all("projection" in name for name in zero)


@torch.no_grad()
def test_soft_capped_logits_stay_within_the_bound_in_both_uses_of_the_model(tiny_config):
    plain = perturbed(tiny_config)
    model = GPT(dataclasses.replace(tiny_config, logit_softcap=2.0)).eval()
    model.load_state_dict(plain.state_dict())
    ids, targets = random_ids(tiny_config, 2, 8, seed=1), random_ids(tiny_config, 2, 8, seed=2)
    logits = 2 * torch.tanh(plain(ids) / 2)
    assert plain(ids).abs().max() > 2 > logits.abs().max()
    torch.testing.assert_close(model(ids), logits)
    torch.testing.assert_close(model(ids, targets), F.cross_entropy(logits.flatten(0, 1), targets.flatten()))


@pytest.mark.parametrize("norm", get_args(Norm))
def test_without_biases_there_are_none(tiny_config, norm):
    model = GPT(dataclasses.replace(tiny_config, bias=False, norm=norm, activation="swiglu"))
    assert not [name for name, _ in model.named_parameters() if "bias" in name]


# --- Every model ---


@torch.no_grad()
def test_no_token_looks_ahead_and_each_looks_at_itself_and_the_past(model, config):
    ids = random_ids(config, 1, config.context_length)
    before = model(ids)[0]
    for t in range(config.context_length):
        changed = ids.clone()
        changed[0, t] = (ids[0, t] + 1) % config.vocab_size
        after = model(changed)[0]
        torch.testing.assert_close(after[:t], before[:t], rtol=0, atol=0)
        moved = (after[t:] - before[t:]).abs().amax(-1)
        assert (moved > 1e-4).all(), f"token {t} does not reach every later position"


@torch.no_grad()
def test_rows_of_a_batch_do_not_see_each_other(model, config):
    ids = random_ids(config, 3, 9)
    alone = torch.cat([model(row[None]) for row in ids])
    torch.testing.assert_close(model(ids), alone, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("steps", [[16], [1] * 16, [5] + [1] * 11, [3, 4, 1, 6, 2], [1, 15], [15, 1], [0, 8, 8]])
def test_cached_logits_equal_uncached_ones(model, config, steps):
    """Prefill, single steps, and several tokens at once onto what is cached."""
    ids = random_ids(config, 2, sum(steps))
    cache = KVCache(config, 2, ids.device, torch.float32)
    cache.keys.fill_(math.nan)  # what is not filled yet must not be read
    cache.values.fill_(math.nan)
    parts = [model(part, cache=cache) for part in ids.split(steps, dim=1) if part.shape[1]]
    assert cache.length == sum(steps)
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_cache_set_back_to_length_zero_starts_over(model, config):
    cache = KVCache(config, 1, torch.device("cpu"), torch.float32)
    model(random_ids(config, 1, 16, seed=1), cache=cache)
    cache.length = 0
    ids = random_ids(config, 1, 10, seed=2)
    torch.testing.assert_close(model(ids, cache=cache), model(ids), rtol=1e-5, atol=1e-5)


def test_too_many_tokens_are_refused_with_both_numbers(model, config):
    with pytest.raises(ValueError, match=r"17 .*context_length.* 16"):
        model(random_ids(config, 1, 17))
    cache = KVCache(config, 1, torch.device("cpu"), torch.float32)
    model(random_ids(config, 1, 12), cache=cache)
    with pytest.raises(ValueError, match=r"17 .*context_length.* 16"):
        model(random_ids(config, 1, 5), cache=cache)


def test_with_targets_the_mean_loss_comes_back(model, config):
    ids, targets = random_ids(config, 2, 8, seed=1), random_ids(config, 2, 8, seed=2)
    log_p = model(ids).log_softmax(-1)
    expected = -sum(log_p[b, t, targets[b, t]] for b in range(2) for t in range(8)) / 16
    torch.testing.assert_close(model(ids, targets), expected)


def test_dropout_acts_in_training_only(config):
    torch.manual_seed(0)
    ids = random_ids(config, 2, 8)
    model = GPT(dataclasses.replace(config, dropout=0.5))
    without = GPT(config)
    without.load_state_dict(model.state_dict())
    assert not torch.equal(model(ids), model(ids))
    model.eval()
    torch.testing.assert_close(model(ids), without.train()(ids), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the package's own attention; PyTorch's
def test_dropout_acts_on_embeddings_attention_weights_and_both_branches(monkeypatch, config, dtype):
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(q, k, v, mask=None, dropout_p=0.0, **rest):
        seen.append(dropout_p)
        return attend(q, k, v, mask, dropout_p, **rest)

    def watched_own(q, k, v, dropout):
        assert q.dtype == torch.float32
        seen.append(dropout)
        return dropout_attention(q, k, v, dropout)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    monkeypatch.setattr("tinyllm.model.attention.dropout_attention", watched_own)
    model = GPT(dataclasses.replace(config, dropout=0.25, zero_init=False)).to(dtype)
    counts = []
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(lambda module, x, y: counts.append((y == 0).float().mean().item()))
    model(random_ids(config, 8, 16))
    assert seen == [0.25] * config.num_layers
    assert len(counts) == 1 + 2 * config.num_layers
    assert all(abs(share - 0.25) < 0.05 for share in counts)
    seen.clear()
    model.eval()(random_ids(config, 1, 4))
    assert seen == [0.0] * config.num_layers


def test_the_reference_model_has_exactly_51213824_parameters():
    with torch.device("meta"):
        model = GPT(ModelConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 51_213_824


def test_the_head_is_the_token_embedding(config, tmp_path):
    """One tensor: no second matrix of that shape, gradients of both uses in it, also after saving and loading."""
    model = GPT(config)
    save_model(model, tmp_path / "model.safetensors")
    shape = (config.vocab_size, config.embedding_dim)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        stored = [name for name in file.keys() if tuple(file.get_slice(name).get_shape()) == shape]  # noqa: SIM118
    assert stored == ["token_embedding.weight"]
    for one in (model, load_model(tmp_path / "model.safetensors", device="cpu")):
        assert [name for name, p in one.named_parameters() if tuple(p.shape) == shape] == ["token_embedding.weight"]
        ids = torch.tensor([[3, 5]])
        before = one(ids)
        with torch.no_grad():
            one.token_embedding.weight[7] += 1  # token 7 is not in the input: it can only come in through the head
        moved = (one(ids) - before).abs().amax((0, 1))
        assert moved[7] > 0
        assert moved.count_nonzero() == 1
        one(ids, torch.tensor([[5, 3]])).backward()
        assert one.token_embedding.weight.grad.abs().amax(-1).count_nonzero() == config.vocab_size


def test_a_saved_model_comes_back_bit_for_bit_and_ready_for_use(model, config, tmp_path):
    save_model(model.train(), tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors", device="cpu")
    assert loaded.config == config
    assert not loaded.training
    ids = random_ids(config, 2, 16)
    torch.testing.assert_close(loaded(ids), model.eval()(ids), rtol=0, atol=0)


def test_initialisation_is_gpt2s():
    config = ModelConfig(
        vocab_size=2000, context_length=128, embedding_dim=128, num_layers=6, num_heads=4, feedforward_dim=512
    )
    torch.manual_seed(0)
    residual = set()
    for name, parameter in GPT(config).named_parameters():
        kind = name.removesuffix(".weight").rpartition(".")[2]
        if parameter.dim() == 2:
            is_residual = name.endswith(("attention.projection.weight", "feedforward.projection.weight"))
            residual |= {name} if is_residual else set()
            expected = 0.02 / math.sqrt(2 * 6) if is_residual else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.03), name
            assert abs(parameter.mean().item()) < 5 * expected / math.sqrt(parameter.numel()), name
        elif name.endswith("bias"):
            assert not parameter.any(), name
        else:
            assert "norm" in kind and (parameter == 1).all(), name
    assert len(residual) == 2 * 6


def test_the_first_loss_is_ln_of_the_vocabulary_size():
    config = ModelConfig(
        vocab_size=5000, context_length=64, embedding_dim=128, num_layers=4, num_heads=4, feedforward_dim=512
    )
    torch.manual_seed(0)
    model = GPT(config)
    with torch.no_grad():
        loss = model(random_ids(config, 8, 64, seed=1), random_ids(config, 8, 64, seed=2))
    assert loss.item() == pytest.approx(math.log(5000), rel=0.02)


class PlainIndexing(TorchFunctionMode):
    """x[...] as select, slice and unsqueeze: on CUDA tensors, even fakes, indexing asks for what a CPU build lacks."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function not in (Tensor.__getitem__, Tensor.__setitem__):
            return function(*arguments, **(options or {}))
        part, places = arguments[0], arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
        dim = 0
        for place in places:
            if place is None:
                part = part.unsqueeze(dim)
            elif isinstance(place, int):
                part = torch.select(part, dim, place)
            else:
                part = torch.ops.aten.slice(part, dim, place.start, place.stop)
                dim += 1
        if function is Tensor.__setitem__:  # writing would need the library too; whether it could be done is checked
            assert (part.shape, part.dtype, part.device) == (
                arguments[2].shape,
                arguments[2].dtype,
                arguments[2].device,
            )
            return None
        return part


@torch.no_grad()
def test_forward_cache_and_loss_stay_on_the_models_device(monkeypatch, config):
    """Fake CUDA tensors: an operation that mixes in a tensor made on the CPU raises."""
    monkeypatch.setattr(loss_module, "CHUNK", 5)
    shapes = {name: tensor.shape for name, tensor in GPT(config).state_dict().items()}
    model = GPT(config).eval()
    V = config.vocab_size
    with PlainIndexing(), FakeTensorMode():
        state = {name: torch.empty(shape, device="cuda") for name, shape in shapes.items()}
        ids = torch.empty(2, 6, dtype=torch.long, device="cuda")

        def run(*arguments) -> Tensor:
            return functional_call(model, state, arguments)

        results = [run(ids)]
        cache = KVCache(config, 2, ids.device, torch.float32)
        for part in ids.split([3, 2, 1], dim=1):  # prefill, several tokens at once, one token
            results.append(run(part, None, cache))
            assert cache.keys.device.type == "cuda"
        for threshold in (1 << 24, 0):  # all logits at once, and in chunks
            monkeypatch.setattr(loss_module, "THRESHOLD", threshold)
            loss = run(ids, ids)
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            assert loss.device.type == "cuda"
    assert all(logits.device.type == "cuda" for logits in results)
    assert [tuple(logits.shape) for logits in results] == [(2, 6, V), (2, 3, V), (2, 2, V), (2, 1, V)]


@torch.no_grad()
def test_gradients_of_the_loss_stay_on_the_inputs_device(monkeypatch):
    """Called past autograd, which a CPU build cannot run on fake CUDA tensors. The last chunk is not full."""
    monkeypatch.setattr(loss_module, "CHUNK", 5)
    saved = []
    context = SimpleNamespace(save_for_backward=lambda *tensors: saved.extend(tensors))
    with PlainIndexing(), FakeTensorMode():
        hidden, weight = torch.empty(8, 16, device="cuda"), torch.empty(97, 16, device="cuda")
        targets = torch.empty(8, dtype=torch.long, device="cuda")
        value = loss_module._ChunkedCrossEntropy.forward(context, hidden, weight, targets)
        context.saved_tensors = saved
        gradients = loss_module._ChunkedCrossEntropy.backward(context, torch.empty((), device="cuda"))[:2]
    assert [tensor.device.type for tensor in (value, *gradients)] == ["cuda"] * 3
    assert [tuple(tensor.shape) for tensor in (value, *gradients)] == [(), (8, 16), (97, 16)]
