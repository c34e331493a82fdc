"""Which optimizer gets which parameters, AdamW by the paper's formulas, and two optimizers used as one."""

import io

import pytest
import torch

from tinyllm import GPT, TrainingConfig
from tinyllm.training.optimizers import MuonAndAdamW, make_optimizer, muon_groups, parameter_groups


def test_only_matrices_decay_and_each_parameter_is_in_one_group(tiny_config):
    model = GPT(tiny_config)
    decayed, kept = parameter_groups(model, 0.3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    placed = [names[id(parameter)] for group in (decayed, kept) for parameter in group["params"]]
    assert sorted(placed) == sorted(names.values())
    matrices = ("embedding.weight", "qkv.weight", "projection.weight", "expand.weight")
    assert sorted(names[id(p)] for p in decayed["params"]) == sorted(n for n in names.values() if n.endswith(matrices))
    assert all("norm" in names[id(p)] or names[id(p)].endswith("bias") for p in kept["params"])


def test_frozen_parameters_are_left_out(tiny_config):
    model = GPT(tiny_config)
    model.token_embedding.weight.requires_grad_(False)
    model.final_norm.bias.requires_grad_(False)
    placed = {id(parameter) for group in parameter_groups(model, 0.1) for parameter in group["params"]}
    assert placed == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_a_step_is_adamws(tiny_config):
    """Two steps by the paper's formulas: averages, bias correction, decay apart from the gradient."""
    config = TrainingConfig(max_learning_rate=0.01, min_learning_rate=0.0, weight_decay=0.5, betas=(0.8, 0.9))
    torch.manual_seed(0)
    model = GPT(tiny_config)
    optimizer = make_optimizer(model, config)
    for name in ("blocks.0.feedforward.expand.weight", "blocks.1.attention_norm.weight"):
        parameter = model.get_parameter(name)
        expected = parameter.detach().double().clone()
        decay = 0.5 if parameter.dim() == 2 else 0.0
        first, second = torch.zeros_like(expected), torch.zeros_like(expected)
        for step in (1, 2):
            optimizer.zero_grad()
            parameter.grad = torch.randn_like(parameter)
            optimizer.step()
            first = 0.8 * first + 0.2 * parameter.grad
            second = 0.9 * second + 0.1 * parameter.grad**2
            update = (first / (1 - 0.8**step)) / ((second / (1 - 0.9**step)).sqrt() + 1e-8)
            expected = expected - 0.01 * (update + decay * expected)
        torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["tiny_config", "modern_config"])
def test_muon_gets_the_blocks_matrices_and_adamw_all_else(request, kind):
    config = request.getfixturevalue(kind)
    model = GPT(config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden, rest = muon_groups(model, 0.3)
    placed = [names[id(p)] for group in (*hidden, *rest) for p in group["params"]]
    assert sorted(placed) == sorted(names.values())
    by_sizes = {group["row_sizes"]: {names[id(p)] for p in group["params"]} for group in hidden}
    C, kv_dim = config.embedding_dim, config.kv_heads * config.head_dim
    assert by_sizes.keys() == {(C, kv_dim, kv_dim), None}
    assert by_sizes[C, kv_dim, kv_dim] == {f"blocks.{layer}.attention.qkv.weight" for layer in range(2)}
    matrices = {name for name, p in model.named_parameters() if p.dim() == 2 and name.startswith("blocks")}
    assert set().union(*by_sizes.values()) == matrices
    assert {group["weight_decay"] for group in hidden} == {0.3}
    embeddings = {name for name in names.values() if name.endswith("embedding.weight")}
    assert {names[id(p)] for p in rest[0]["params"]} == embeddings
    assert [group["weight_decay"] for group in rest] == [0.3, 0.0]


def test_muon_leaves_frozen_parameters_out(tiny_config):
    model = GPT(tiny_config)
    for frozen in (model.token_embedding.weight, model.blocks[0].attention.qkv.weight, model.final_norm.bias):
        frozen.requires_grad_(False)
    hidden, rest = muon_groups(model, 0.1)
    placed = {id(parameter) for group in (*hidden, *rest) for parameter in group["params"]}
    assert placed == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_both_optimizers_are_used_as_one(modern_config):
    """One rate reaches both, each moves its own parameters, and a restored state goes on bit for bit."""
    torch.manual_seed(0)
    config = TrainingConfig(optimizer="muon", max_learning_rate=0.01, min_learning_rate=0.0)
    ids = torch.randint(modern_config.vocab_size, (4, 16))

    def step(model: GPT, optimizer: MuonAndAdamW) -> None:
        model(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()

    model = GPT(modern_config)
    optimizer = make_optimizer(model, config)
    assert isinstance(optimizer, MuonAndAdamW)
    for _ in range(2):  # zero projections keep most gradients at 0 in the first
        step(model, optimizer)
    assert all(parameter.grad is None for parameter in model.parameters())
    other = GPT(modern_config)
    other.load_state_dict(model.state_dict())
    restored = make_optimizer(other, config)
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    restored.load_state_dict(torch.load(buffer, weights_only=True))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for one, its in ((model, optimizer), (other, restored)):
        step(one, its)
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two), name
        assert not torch.equal(one, before[name]), name
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for one, its in ((model, optimizer), (other, restored)):
        for group in its.param_groups:
            group["lr"] = 0.0
        step(one, its)
        assert all(torch.equal(parameter, before[name]) for name, parameter in one.named_parameters())


def test_both_optimizers_step_with_a_closure(tiny_config):
    torch.manual_seed(0)
    model = GPT(tiny_config)
    optimizer = make_optimizer(model, TrainingConfig(optimizer="muon"))
    ids = torch.arange(16)[None]
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    losses = []

    def closure() -> float:
        loss = model(ids, ids + 1)
        loss.backward()
        losses.append(loss.item())
        return losses[-1]

    assert optimizer.step(closure) == losses[-1]
    assert len(losses) == 1
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert {"token_embedding.weight", "blocks.0.attention.qkv.weight"} <= moved
