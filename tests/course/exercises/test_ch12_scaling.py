"""Each reference of notebook 12 beside an independent one."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import scipy.stats
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tinyllm import GPT, ModelConfig
from tinyllm.course.exercises import ch12_scaling as scaling
from tinyllm.course.scaling_laws import fit_power_law
from tinyllm.estimation import flops_per_token


def test_training_flops_are_those_of_the_estimate_and_of_torch():
    shape = {"num_layers": 3, "embedding_dim": 24, "feedforward_dim": 72, "context_length": 10, "vocab_size": 50}
    by_hand = scaling.training_flops(*shape.values())
    assert by_hand == flops_per_token(ModelConfig(**shape, num_heads=2))
    model = GPT(ModelConfig(**shape, num_heads=2, dropout=0.0))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 10, dtype=torch.long)).sum().backward()
    assert counter.get_total_flops() == 20 * by_hand


def test_intensity_is_what_torch_counts_over_what_the_tensors_hold():
    for dtype in (torch.float32, torch.float64):
        a, b = torch.ones(3, 50, dtype=dtype), torch.ones(50, 7, dtype=dtype)
        with FlopCounterMode(display=False) as counter:
            product = a @ b
        expected = counter.get_total_flops() / sum(tensor.nbytes for tensor in (a, b, product))
        assert scaling.intensity(3, 50, 7, dtype.itemsize) == pytest.approx(expected)
    assert scaling.intensity(3, 50, 7) == scaling.intensity(3, 50, 7, 4)


def test_a_line_through_losses_is_scipys_and_the_packages():
    sizes, losses, floor = scaling._runs(6, 0.1)
    line = scipy.stats.linregress(np.log(sizes), np.log(np.array(losses) - floor))
    scale, exponent = scaling.fit_line(sizes, losses, floor)
    assert (scale, exponent) == pytest.approx((math.exp(line.intercept), -line.slope))
    law = fit_power_law(sizes, losses, floor)
    assert (law.scale, law.exponent) == pytest.approx((scale, exponent))


def test_noise_scale_is_that_of_gradients_whose_noise_is_known():
    """Examples with gradients of unit noise in each of 50 directions, around a true gradient of squared length 5."""
    truth = math.sqrt(0.1) * torch.ones(50)
    batches = truth + torch.randn(4000, 64, 50)
    small, large = (batches[:, :size].mean(1).square().sum(1).mean().item() for size in (4, 64))
    assert scaling.noise_scale(small, large, 4, 64) == pytest.approx(50 / 5, rel=0.02)


def test_compute_optimal_spends_all_in_the_ratio_asked_for():
    """Chinchilla itself: 70 billion parameters and 1.4 trillion tokens."""
    assert scaling.compute_optimal(6 * 70e9 * 1.4e12) == pytest.approx((70e9, 1.4e12))
    parameters, tokens = scaling.compute_optimal(1e15, 7)
    assert (6 * parameters * tokens, tokens / parameters) == pytest.approx((1e15, 7))


@pytest.mark.parametrize("count", [3, 6])
def test_the_mended_fit_is_the_packages(count):
    sizes, losses, _ = scaling._runs(count, 0.1)
    law = fit_power_law(sizes, losses)
    assert scaling.mend_fit(sizes, losses) == pytest.approx((law.floor, law.scale, law.exponent))


@pytest.mark.parametrize(("batch", "scale"), [(8, 8), (4, 30), (50, 10)])
def test_agreement_is_the_cosine_of_a_noisy_mean_with_the_truth(batch, scale):
    truth = torch.randn(50_000)
    noise = torch.randn(batch, 50_000) * (truth.norm() * math.sqrt(scale / 50_000))
    cosine = torch.cosine_similarity((truth + noise).mean(0), truth, dim=0).item()
    assert scaling.agreement(batch, scale) == pytest.approx(cosine, rel=0.05)


def test_the_optimal_size_has_the_lowest_loss_of_all():
    """Searched for by scipy."""
    flops, *law = scaling._budget_and_law()
    A, alpha, B, beta = law
    found = scipy.optimize.minimize_scalar(
        lambda size: A * math.exp(-alpha * size) + B * (6 * math.exp(size) / flops) ** beta, bracket=(0, 20), tol=1e-10
    )
    assert scaling.optimal_size(flops, *law) == pytest.approx(math.exp(found.x), rel=1e-4)


def test_the_optimal_size_is_chinchillas():
    """Hoffmann et al. (2022), figure 4: 40 billion parameters for Gopher's FLOPs."""
    assert scaling.optimal_size(5.76e23, 406.4, 0.3392, 410.7, 0.2849) == pytest.approx(40e9, rel=0.02)
