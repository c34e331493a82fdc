"""The number format of matrix products: chosen by device, and what autocast makes of it."""

import pytest
import torch

from tinyllm.system.precision import autocast, pick_precision

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
    with pytest.raises(KeyError, match="float64"):
        pick_precision(CPU, "float64")
