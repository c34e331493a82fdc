"""One step: the mean gradient of its micro-batches, clipped; nothing changes where something is not finite."""

import contextlib
import dataclasses
import math

import pytest
import torch

from tinyllm import GPT, TrainingConfig
from tinyllm.config import IGNORED
from tinyllm.model import loss as loss_module
from tinyllm.training.gradient_step import accumulate_gradients, apply_gradients, require_finite, train_step
from tinyllm.training.optimizers import make_optimizer

UNSCALED = torch.amp.GradScaler("cpu", enabled=False)


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    return GPT(tiny_config)


def pieces(count: int, rows: int, seed: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """So many micro-batches of so many rows each."""
    ids = torch.randint(97, (count * rows, 17), generator=torch.Generator().manual_seed(seed))
    return [(part[:, :-1], part[:, 1:]) for part in ids.split(rows)]


def gradient_of_all(model: GPT, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[float, list[torch.Tensor]]:
    """The mean loss over all rows in one pass, and its gradient."""
    ids, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    loss = torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
    return loss.item(), list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize(("count", "rows"), [(1, 6), (3, 2), (6, 1)])
@pytest.mark.parametrize("limit", [1e9, 0.1])
def test_a_step_applies_the_clipped_mean_gradient(model, count, rows, limit):
    batches = pieces(count, rows)
    loss, gradients = gradient_of_all(model, batches)
    norm = math.sqrt(sum(gradient.double().square().sum().item() for gradient in gradients))
    assert norm > 0.1
    before = [parameter.detach().clone() for parameter in model.parameters()]
    found = train_step(model, batches, torch.optim.SGD(model.parameters(), lr=1.0), UNSCALED, limit)
    assert [value.item() for value in found] == pytest.approx([loss, norm], rel=1e-5)
    for parameter, old, gradient in zip(model.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(parameter, old - gradient * min(1, limit / norm), rtol=0, atol=2e-6)


def test_no_gradient_is_left_for_the_next_step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    first = train_step(model, pieces(2, 2), optimizer, UNSCALED, 1.0)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert train_step(model, pieces(2, 2), optimizer, UNSCALED, 1.0) == first


def test_matrix_products_run_in_the_precision_asked_for(model):
    seen = set()
    model.blocks[0].feedforward.expand.register_forward_hook(lambda _, inputs, output: seen.add(output.dtype))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    plain, _ = train_step(model, pieces(1, 2), optimizer, UNSCALED, 1.0)
    half, _ = train_step(model, pieces(1, 2), optimizer, UNSCALED, 1.0, torch.bfloat16)
    assert seen == {torch.float32, torch.bfloat16}
    assert plain.item() != half.item() == pytest.approx(plain.item(), rel=1e-2)


@pytest.mark.parametrize(
    ("spoil", "message"), [("loss", "^nan$"), ("gradient", r"^\d+\.\d+, but its gradient is inf$")]
)
def test_what_is_not_finite_is_an_error_and_changes_nothing(model, spoil, message):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    weight = model.final_norm.weight
    if spoil == "loss":
        model.forward = lambda *_: weight.sum() * math.nan
    else:
        weight.register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(FloatingPointError, match=message):
        train_step(model, pieces(2, 2), optimizer, UNSCALED, 1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_with_a_scaler_an_infinite_gradient_skips_the_step(model):
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    model.final_norm.weight.register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss, norm = train_step(model, pieces(1, 2), torch.optim.SGD(model.parameters(), lr=1.0), scaler, 1.0)
    assert math.isfinite(loss)
    assert norm == math.inf
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert scaler.get_scale() == 4.0


# --- Without waiting ---


@pytest.fixture
def unread(monkeypatch):
    """A device whose tensors have no values: reading one, for which a GPU would be waited, raises."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # autocast does not know this device
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    part = loss_module._loss_and_gradient
    monkeypatch.setattr(loss_module, "_loss_and_gradient", lambda *of, fused: part(*of, fused=True))  # as on CUDA
    return torch.device("meta")


@pytest.mark.parametrize("kind", ["tiny_config", "modern_config"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("threshold", [1 << 24, 0])  # the loss of all logits at once, and in chunks
@pytest.mark.parametrize("recompute", [False, True])
def test_a_step_reads_no_value(request, monkeypatch, unread, kind, optimizer, threshold, recompute):
    monkeypatch.setattr(loss_module, "THRESHOLD", threshold)
    config = dataclasses.replace(request.getfixturevalue(kind), dropout=0.1)
    model = GPT(config).to(unread)
    model.recompute = recompute
    moved = make_optimizer(model, TrainingConfig(optimizer=optimizer))
    ids = torch.zeros(2, 16, dtype=torch.long, device=unread)
    for _ in range(2):
        loss = accumulate_gradients(model, [(ids, ids), (ids, ids)], UNSCALED, torch.float32)
        assert all(parameter.grad.device == unread for parameter in model.parameters())
        norm = apply_gradients(model, loss, moved, UNSCALED, 1.0)
    assert loss.device == norm.device == unread
    assert all(parameter.grad is None for parameter in model.parameters())
    for read in (torch.Tensor.item, torch.Tensor.tolist, bool, float):  # otherwise this would say nothing
        with pytest.raises((RuntimeError, NotImplementedError)):
            read(loss)


def test_a_step_on_a_cpu_is_checked_before_it_is_applied_and_one_elsewhere_by_whoever_reads_it(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda")

    model.final_norm.weight.grad = torch.full_like(model.final_norm.weight, math.inf)
    with pytest.raises(FloatingPointError):
        apply_gradients(model, torch.tensor(2.0), optimizer, UNSCALED, 1.0)
    model.final_norm.weight.grad = torch.full_like(model.final_norm.weight, math.inf)
    norm = apply_gradients(model, torch.tensor(2.0).as_subclass(Elsewhere), optimizer, UNSCALED, 1.0)
    assert norm.item() == math.inf


@pytest.mark.parametrize(
    ("loss", "norm", "scaled", "message"),
    [
        (2.0, 1.0, False, None),
        (2.0, math.inf, True, None),
        (math.nan, 1.0, False, "^nan$"),
        (math.inf, math.inf, True, "^inf$"),
        (2.0, math.nan, False, "^2.0, but its gradient is nan$"),
    ],
)
def test_what_is_required_to_be_finite(loss, norm, scaled, message):
    if message is None:
        require_finite(loss, norm, scaled)
        return
    with pytest.raises(FloatingPointError, match=message):
        require_finite(loss, norm, scaled)


def test_however_a_batch_is_cut_each_target_that_counts_weighs_the_same(model):
    ids, targets = pieces(1, 6)[0]
    targets = targets.clone()
    targets[:2] = IGNORED  # of the first third none counts
    targets[3, 3:] = IGNORED
    logits = model(ids).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED)
    gradients = torch.autograd.grad(expected, list(model.parameters()))
    for rows in (6, 2, 1):
        batches = list(zip(ids.split(rows), targets.split(rows), strict=True))
        loss = accumulate_gradients(model, batches, UNSCALED, torch.float32)
        torch.testing.assert_close(loss, expected.detach())
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
        model.zero_grad()


def test_where_no_target_counts_nothing_is_learned(model):
    batches = [(ids, torch.full_like(targets, IGNORED)) for ids, targets in pieces(2, 2)]
    loss, norm = train_step(model, batches, torch.optim.SGD(model.parameters(), lr=1.0), UNSCALED, 1.0)
    assert loss == norm == 0
