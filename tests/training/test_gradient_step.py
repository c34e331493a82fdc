"""One step: the mean gradient of its micro-batches, clipped; nothing changes where something is not finite."""

import math

import pytest
import torch

from tinyllm import GPT
from tinyllm.training.gradient_step import train_step

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
