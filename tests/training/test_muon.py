"""Muon, against the SVD and torch's own."""

import io
import math

import pytest
import torch

from tinyllm.training.muon import Muon, orthogonalise, orthogonalise_stack


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


@pytest.mark.parametrize(("rows", "columns"), [(24, 24), (16, 40), (40, 16), (1, 30), (30, 1)])
def test_a_stack_is_orthogonalised_as_each_of_its_matrices(rows, columns):
    """Matrices of very different sizes, and one of nothing, do not mix."""
    torch.manual_seed(0)
    stack = torch.randn(5, rows, columns) * torch.tensor([1e-4, 1.0, 1e4, 0.0, 3.0])[:, None, None]
    expected = torch.stack([orthogonalise(matrix) for matrix in stack])
    torch.testing.assert_close(orthogonalise_stack(stack), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(orthogonalise(stack), expected, rtol=1e-4, atol=1e-5)
    assert not expected[3].any()


def readable_step(weights, means, row_sizes, rate: float, decay: float) -> None:
    """Muon by its formulas, one matrix after the other."""
    for weight, mean, sizes in zip(weights, means, row_sizes, strict=True):
        mean.mul_(0.95).add_(0.05 * weight.grad)
        update = 0.05 * weight.grad + 0.95 * mean
        changes = [
            0.2 * math.sqrt(max(part.shape)) * orthogonalise(part) for part in update.split(sizes or [len(update)])
        ]
        weight.mul_(1 - rate * decay).sub_(rate * torch.cat(changes))


@torch.no_grad()
def test_a_step_of_stacks_is_the_step_of_each_matrix():
    """Grouped heads: queries, keys and values of unequal size in one weight, some of a shape that others have too."""
    torch.manual_seed(0)
    sizes = [(12, 6, 6), (12, 6, 6), None, None, None, None]
    shapes = [(24, 12), (24, 12), (12, 12), (30, 12), (12, 30), (6, 12)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [weight.detach().clone() for weight in ours]
    means = [torch.zeros_like(weight) for weight in ours]
    groups = [{"params": ours[:2], "row_sizes": sizes[0]}, {"params": ours[2:]}]
    optimizer = Muon([group | {"weight_decay": 0.4} for group in groups], lr=0.03)
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        optimizer.step()
        readable_step(theirs, means, sizes, rate=0.03, decay=0.4)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.detach(), other, rtol=1e-4, atol=1e-5)


def test_a_restored_state_goes_on_bit_for_bit():
    torch.manual_seed(0)
    whole = [torch.nn.Parameter(torch.randn(24, 12)), torch.nn.Parameter(torch.randn(24, 12))]
    gradients = torch.randn(6, 2, 24, 12)

    def steps(weights: list[torch.nn.Parameter], optimizer: Muon, which: torch.Tensor) -> None:
        for both in which:
            for weight, gradient in zip(weights, both, strict=True):
                weight.grad = gradient.clone()
            optimizer.step()

    def muon(weights: list[torch.nn.Parameter]) -> Muon:
        return Muon([{"params": weights, "row_sizes": (12, 6, 6), "weight_decay": 0.1}], lr=0.1)

    optimizer = muon(whole)
    steps(whole, optimizer, gradients[:3])
    parts = [torch.nn.Parameter(weight.detach().clone()) for weight in whole]
    restored = muon(parts)
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    restored.load_state_dict(torch.load(buffer, weights_only=True))
    steps(whole, optimizer, gradients[3:])
    steps(parts, restored, gradients[3:])
    assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))


def test_a_matrix_without_a_gradient_stays():
    moved, still = (torch.nn.Parameter(torch.ones(3, 2)) for _ in range(2))
    moved.grad = torch.eye(3, 2)
    Muon([{"params": [moved, still], "weight_decay": 0.5}], lr=0.1).step()
    assert torch.equal(still, torch.ones(3, 2))
    assert not torch.equal(moved, torch.ones(3, 2))


def test_the_update_has_the_size_of_adamws():
    """0.2 in the mean square, whatever the shape and the gradient's size."""
    for rows, columns in ((64, 64), (32, 128), (128, 32)):
        weight = torch.nn.Parameter(torch.zeros(rows, columns))
        weight.grad = 1e-3 * torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
        Muon([{"params": [weight]}], lr=1.0).step()
        assert weight.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.2)


def test_a_closure_computes_the_gradient_of_the_step():
    weight = torch.nn.Parameter(torch.eye(3))
    optimizer = Muon([{"params": [weight]}], lr=0.1)

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 3.0
    assert not torch.equal(weight, torch.eye(3))
