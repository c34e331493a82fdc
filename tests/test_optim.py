"""Optimizers and the learning rate, against the SVD, torch's own optimizers, and what their descriptions say."""

import dataclasses
import io
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import GPT, TrainingConfig
from tinyllm.training.muon import Muon, orthogonalise
from tinyllm.training.optimizers import MuonAndAdamW, make_optimizer, muon_groups, parameter_groups
from tinyllm.training.schedule import learning_rate


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


# --- Muon ---


def with_singular_values(rows: int, columns: int, least: float) -> torch.Tensor:
    """A random matrix whose singular values fall from 1 to `least`, evenly on a logarithmic scale."""
    smaller = min(rows, columns)
    u = torch.linalg.qr(torch.randn(rows, smaller, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(columns, smaller, dtype=torch.float64)).Q
    return (u * torch.logspace(0, math.log10(least), smaller, dtype=torch.float64)) @ v.T


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (48, 160), (160, 48), (1, 30), (30, 1)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_orthogonalising_keeps_both_bases_of_the_svd_and_brings_its_values_near_one(rows, columns, size):
    """0.68 to 1.14 is where five of these steps bring whatever is at least 0.01 of the norm."""
    torch.manual_seed(0)
    matrix = with_singular_values(rows, columns, least=0.1)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalise((size * matrix).float()).double()
    values = u.T @ found @ vh.T
    torch.testing.assert_close(values, values.diag().diag(), rtol=0, atol=1e-4)  # nothing outside the diagonal
    torch.testing.assert_close(found, u @ values @ vh, rtol=0, atol=1e-4)  # nor outside the two bases
    assert 0.67 < values.diag().min() <= values.diag().max() < 1.21
    assert (found - u @ vh).norm() < 0.33 * (u @ vh).norm()


def test_orthogonalising_leaves_nothing_as_nothing():
    assert torch.equal(orthogonalise(torch.zeros(5, 3)), torch.zeros(5, 3))


@pytest.mark.parametrize(("rows", "columns"), [(24, 24), (16, 40), (40, 16)])
def test_muon_steps_like_torchs(monkeypatch, rows, columns):
    """Four steps with weight decay. Torch's rounds to bfloat16 everywhere; here it is kept from that."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(rows, columns))
    theirs = torch.nn.Parameter(ours.detach().clone())
    reference = torch.optim.Muon(
        [theirs], lr=0.03, weight_decay=0.4, momentum=0.95, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    optimizer = Muon([{"params": [ours], "weight_decay": 0.4}], lr=0.03)
    for _ in range(4):
        ours.grad = torch.randn(rows, columns)
        theirs.grad = ours.grad.clone()
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_parts_of_a_fused_matrix_step_as_matrices_of_their_own():
    torch.manual_seed(0)
    sizes = (12, 6, 6)
    fused = torch.nn.Parameter(torch.randn(24, 12))
    parts = [torch.nn.Parameter(part.clone()) for part in fused.detach().split(sizes)]
    together = Muon([{"params": [fused], "row_sizes": sizes}], lr=0.1)
    apart = Muon([{"params": parts}], lr=0.1)
    whole = torch.nn.Parameter(fused.detach().clone())
    in_one = Muon([{"params": [whole]}], lr=0.1)
    for _ in range(3):
        fused.grad = torch.randn(24, 12)
        whole.grad = fused.grad.clone()
        for part, grad in zip(parts, fused.grad.split(sizes), strict=True):
            part.grad = grad.clone()
        for optimizer in (together, apart, in_one):
            optimizer.step()
    torch.testing.assert_close(fused.detach(), torch.cat([part.detach() for part in parts]))
    assert (fused - whole).abs().max() > 0.01


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
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    step(model, optimizer)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


# --- The learning rate ---


def test_the_schedule_equals_its_closed_form_at_start_end_of_warm_up_middle_and_end():
    config = TrainingConfig(max_iterations=1100, warmup_iterations=100, max_learning_rate=1e-3, min_learning_rate=1e-4)
    assert learning_rate(0, config) == pytest.approx(1e-3 / 101)
    assert learning_rate(49, config) == pytest.approx(1e-3 * 50 / 101)
    assert learning_rate(99, config) == pytest.approx(1e-3 * 100 / 101)
    assert learning_rate(100, config) == pytest.approx(1e-3)
    assert learning_rate(350, config) == pytest.approx(1e-4 + 9e-4 * (1 + math.sqrt(0.5)) / 2)  # a quarter: cos 45°
    assert learning_rate(600, config) == pytest.approx(5.5e-4)  # half-way: the mean of both
    assert learning_rate(850, config) == pytest.approx(1e-4 + 9e-4 * (1 - math.sqrt(0.5)) / 2)
    assert learning_rate(1100, config) == pytest.approx(1e-4)
    assert learning_rate(5000, config) == pytest.approx(1e-4)


def test_the_cosine_is_torchs():
    config = TrainingConfig(max_iterations=50, warmup_iterations=0, max_learning_rate=1.0, min_learning_rate=0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    for iteration in range(51):
        assert learning_rate(iteration, config) == pytest.approx(schedule.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        schedule.step()


def test_warmup_stable_decay_equals_its_closed_form():
    config = TrainingConfig(
        schedule="warmup_stable_decay", max_iterations=1000, warmup_iterations=100, decay_fraction=0.3,
        max_learning_rate=1e-3, min_learning_rate=0.0,
    )  # fmt: skip
    assert learning_rate(49, config) == pytest.approx(1e-3 * 50 / 101)
    assert {learning_rate(i, config) for i in range(100, 701)} == {1e-3}
    assert learning_rate(775, config) == pytest.approx(0.75e-3)
    assert learning_rate(850, config) == pytest.approx(0.5e-3)
    assert learning_rate(999, config) == pytest.approx(1e-3 / 300)
    assert learning_rate(1000, config) == learning_rate(5000, config) == 0
    above = dataclasses.replace(config, min_learning_rate=2e-4)
    assert learning_rate(850, above) == pytest.approx(0.6e-3)
    assert learning_rate(1000, above) == pytest.approx(2e-4)
    never = dataclasses.replace(config, decay_fraction=0)
    assert learning_rate(999, never) == 1e-3


@given(st.data(), st.integers(1, 300), st.floats(0, 1))
def test_warmup_stable_decay_climbs_stays_and_falls(data, iterations, share):
    warmup = data.draw(st.none() | st.integers(0, iterations - 1))
    config = TrainingConfig(
        schedule="warmup_stable_decay", max_iterations=iterations, warmup_iterations=warmup, decay_fraction=share,
        max_learning_rate=0.7, min_learning_rate=0.2,
    )  # fmt: skip
    rates = [learning_rate(iteration, config) for iteration in range(iterations + 1)]
    top = config.warmup
    assert rates[top] == max(rates) == pytest.approx(0.7)
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    falling = rates[top:]
    assert all(a >= b for a, b in itertools.pairwise(falling))
    assert sum(rate < 0.7 - 1e-9 for rate in falling) == max(1, min(round(share * iterations), iterations - top))
    assert rates[-1] == pytest.approx(0.2)


@given(st.data(), st.integers(1, 300))
def test_the_schedule_climbs_then_falls_and_stays_between_its_ends(data, iterations):
    warmup = data.draw(st.none() | st.integers(0, iterations - 1))
    config = TrainingConfig(
        max_iterations=iterations, warmup_iterations=warmup, max_learning_rate=0.7, min_learning_rate=0.2
    )
    rates = [learning_rate(iteration, config) for iteration in range(iterations + 1)]
    top = config.warmup
    assert rates[top] == max(rates) == pytest.approx(0.7)
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a > b for a, b in itertools.pairwise(rates[top:]))
    assert min(rates) > 0
    assert rates[-1] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("iterations", "warmup"), [(100_000, 2000), (200_000, 2000), (99_999, 1999), (1000, 20), (49, 0), (1, 0)]
)
def test_default_warm_up_is_a_fiftieth_of_the_run_and_2000_at_most(iterations, warmup):
    assert TrainingConfig(max_iterations=iterations).warmup == warmup


def test_a_warm_up_that_is_given_is_used():
    assert TrainingConfig(max_iterations=100, warmup_iterations=7).warmup == 7
    assert TrainingConfig(max_iterations=100_000, warmup_iterations=0).warmup == 0
