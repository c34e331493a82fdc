"""The number format of matrix products: chosen by device, and what autocast makes of it."""

import os

import pytest
import torch

from tinyllm.system.precision import autocast, exact_products, matrix_products, pick_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_precision_by_device(monkeypatch):
    native = []

    def is_bf16_supported(including_emulation=True):
        return including_emulation or native[-1]  # a T4 emulates it, and says so only when asked

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    native.append(True)
    assert pick_precision(CUDA) == torch.bfloat16
    native.append(False)
    assert pick_precision(CUDA) == torch.float16
    assert pick_precision(CPU) == pick_precision(torch.device("mps")) == torch.float32
    for name in ("float32", "bfloat16", "float16"):
        assert pick_precision(CPU, name) == pick_precision(CUDA, name) == getattr(torch, name)


def test_autocast_casts_matrix_products_and_nothing_in_float32():
    a = torch.randn(4, 4)
    with autocast(CPU, torch.float32):
        assert (a @ a).dtype == torch.float32
    with autocast(CPU, torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        assert a.softmax(-1).dtype == torch.float32


def test_autocast_ends_with_its_block_and_float16_works_too():
    a = torch.randn(4, 4)
    with autocast(CPU, torch.float16):
        assert (a @ a).dtype == torch.float16
    assert (a @ a).dtype == torch.float32


def test_a_format_that_training_does_not_know_is_refused():
    with pytest.raises(ValueError, match=r"precision must be .*bfloat16.*not .float64."):
        pick_precision(CPU, "float64")


# --- How CUDA multiplies ---


@pytest.fixture
def numerics(monkeypatch):
    """What `matrix_products` changes, and as it was again after the test."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)

    def now() -> tuple[str, bool, bool]:
        return (
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    before = now()
    yield now
    torch.set_float32_matmul_precision(before[0])
    torch.use_deterministic_algorithms(before[1], warn_only=before[2])


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("before", [("highest", False, False), ("medium", True, False), ("high", True, True)])
def test_cuda_multiplies_on_tensor_cores_inside_and_as_before_outside(numerics, before, deterministic):
    torch.set_float32_matmul_precision(before[0])
    torch.use_deterministic_algorithms(before[1], warn_only=before[2])
    assert numerics() == before
    with matrix_products(CUDA, deterministic):
        assert numerics() == (("high", True, False) if deterministic else ("high", *before[1:]))
    assert numerics() == before
    with pytest.raises(KeyError), matrix_products(CUDA, deterministic):
        raise KeyError
    assert numerics() == before


def test_determinism_on_cuda_fixes_the_order_in_which_cublas_sums_unless_somebody_chose_another(numerics, monkeypatch):
    with matrix_products(CUDA):
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with matrix_products(CUDA, deterministic=True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with matrix_products(CUDA, deterministic=True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize("device", [CPU, torch.device("mps")])
def test_nothing_changes_on_other_devices(numerics, device):
    before = numerics()
    with matrix_products(device, deterministic=True):
        assert numerics() == before
    assert numerics() == before


@pytest.mark.parametrize("before", ["medium", "high", "highest"])
def test_exact_products_end_with_their_block(numerics, before):
    torch.set_float32_matmul_precision(before)
    with pytest.raises(KeyError), exact_products():
        assert torch.get_float32_matmul_precision() == "highest"
        raise KeyError
    assert torch.get_float32_matmul_precision() == before
