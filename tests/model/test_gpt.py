"""The whole transformer: its head, loss, initialisation, dropout, devices, and the shapes in its types."""

import dataclasses
import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from fake_cuda import PlainIndexing
from jaxtyping import TypeCheckError
from safetensors import safe_open
from small_models import perturbed, random_ids
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from unchecked import run_unchecked

from tinyllm import GPT, KVCache, ModelConfig, load_model, save_model
from tinyllm.config import Norm
from tinyllm.generation.sampling import filter_logits
from tinyllm.model import loss as loss_module
from tinyllm.model.dropout_attention import dropout_attention
from tinyllm.model.linear import linear
from tinyllm.model.loss import cross_entropy
from tinyllm.model.rotary import rotate


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


@torch.no_grad()
def test_rows_of_a_batch_do_not_see_each_other(model, config):
    ids = random_ids(config, 3, 9)
    alone = torch.cat([model(row[None]) for row in ids])
    torch.testing.assert_close(model(ids), alone, rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the package's own dropout attention; PyTorch's
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputed_layers_give_the_same_loss_and_gradients_and_keep_less(config, dropout, dtype):
    """To the bit, with dropout too: the second pass draws what the first drew."""
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(config, dropout=dropout, num_layers=4, zero_init=False)).to(dtype)
    ids, targets = random_ids(config, 4, 16, seed=1), random_ids(config, 4, 16, seed=2)
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    results, sizes, after = [], [], []
    for recompute in (False, True):
        model.recompute = recompute
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(ids, targets)
        sizes.append(sum(kept.values()))
        results.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
        after.append(torch.rand(1))  # the random state, too, is as if nothing had run twice
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    assert torch.equal(*after)
    assert sizes[1] < 0.5 * sizes[0]


def test_nothing_is_recomputed_without_gradients_or_with_a_cache(model, config, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr("tinyllm.model.gpt.checkpoint", refuse)
    ids = random_ids(config, 1, 4)
    model.recompute = True
    model(ids, cache=KVCache(config, 1, torch.device("cpu"), torch.float32))
    with torch.no_grad():
        model(ids, ids)
    with pytest.raises(AssertionError):
        model(ids, ids)


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


@torch.no_grad()
def test_forward_cache_and_loss_stay_on_the_models_device(monkeypatch, config):
    """Fake CUDA tensors: an operation that mixes in a tensor made on the CPU raises."""
    monkeypatch.setattr(loss_module, "chunk_rows", lambda *_: 5)
    model = GPT(config).eval()
    shapes = {name: tensor.shape for name, tensor in (model.state_dict() | dict(model.named_buffers())).items()}
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
def test_logits_are_the_head_of_the_hidden_stream_and_its_losses_their_cross_entropy(model, config):
    ids, targets = random_ids(config, 2, 8, seed=1), random_ids(config, 2, 8, seed=2)
    hidden = model.hidden(ids)
    assert hidden.shape == (2, 8, config.embedding_dim)
    torch.testing.assert_close(model.head(hidden), model(ids), rtol=0, atol=0)
    torch.testing.assert_close(model.head(hidden[0, 3]), model(ids)[0, 3])  # of any shape
    losses = model.token_losses(hidden.flatten(0, 1), targets.flatten())
    log_p = model(ids).flatten(0, 1).log_softmax(-1)
    torch.testing.assert_close(losses, -log_p[torch.arange(16), targets.flatten()])
    torch.testing.assert_close(losses.mean(), model(ids, targets))


def test_the_device_is_that_of_the_weights(tiny_config):
    assert GPT(tiny_config).device == torch.device("cpu")
    with torch.device("meta"):
        assert GPT(tiny_config).device == torch.device("meta")


# --- The shapes in the types ---


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model(torch.zeros(3, dtype=torch.long)),  # no batch
        lambda model: model(torch.zeros(1, 3)),  # not whole numbers
        lambda model: model(torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long)),
        lambda model: model.token_losses(torch.zeros(3, 24), torch.zeros(4, dtype=torch.long)),
        lambda model: model.blocks[0](torch.zeros(3, 24)),
        lambda model: rotate(torch.zeros(2, 3, 4), torch.zeros(2, 3, 2)),
        lambda model: linear(torch.zeros(2, 5), torch.zeros(7, 4)),
        lambda model: cross_entropy(torch.zeros(3, 5), torch.zeros(9, 5), torch.zeros(3, 1, dtype=torch.long)),
        lambda model: filter_logits(torch.zeros(9), None),
    ],
)
def test_while_tests_run_a_wrong_shape_is_a_type_error(tiny_config, call):
    with pytest.raises(TypeCheckError):
        call(GPT(tiny_config))


OUTSIDE = """
import dataclasses, sys
import torch
from tinyllm import GPT, CausalSelfAttention, FeedForward, ModelConfig
from tinyllm.generation import sampling
from tinyllm.model import dropout_attention, linear, loss, rotary

functions = [
    GPT.forward, GPT.hidden, GPT.head, GPT.token_losses, CausalSelfAttention.forward, FeedForward.forward,
    loss.cross_entropy, loss.token_losses, loss.softcap, linear.linear, linear.Linear.forward, rotary.rotate,
    dropout_attention.dropout_attention, sampling.filter_logits, sampling.next_tokens,
]
assert not [function for function in functions if hasattr(function, "__wrapped__")]
assert "beartype" not in sys.modules

classic = ModelConfig(97, 16, 32, num_layers=1, num_heads=4, feedforward_dim=48, dropout=0.2)
modern = dataclasses.replace(
    classic, activation="swiglu", norm="rmsnorm", positions="rotary", num_kv_heads=2, qk_norm=True, bias=False,
    logit_softcap=5.0,
)
ids, targets = torch.randint(97, (2, 2, 16), generator=torch.Generator().manual_seed(0))
for config, threshold in ((classic, 0), (modern, 1 << 24)):  # the loss in chunks, and of all logits at once
    loss.THRESHOLD = threshold
    model = GPT(config)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    results = []
    for one in (model, compiled):  # with dropout, by the package's own kernel
        torch.manual_seed(1)
        value = one(ids, targets)
        results.append([value, *torch.autograd.grad(value, list(model.parameters()))])
    torch.testing.assert_close(*results)
    model.eval()
    torch.testing.assert_close(compiled(ids), model(ids))
    torch.testing.assert_close(compiled(ids, targets), model(ids, targets))
"""


def test_outside_of_tests_the_types_are_only_words_and_the_model_compiles_as_one_graph():
    """In a process without the import hook. The backend "eager" traces the whole model and needs no C compiler."""
    run_unchecked(OUTSIDE)
