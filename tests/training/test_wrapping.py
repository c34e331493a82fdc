"""How a training step calls the model: compiled or not, with CUDA graphs or not. (Exchange: several_processes.)"""

import pytest
import torch
from small_runs import small_run

from tinyllm import GPT
from tinyllm.system.distributed import Processes
from tinyllm.training import wrapping
from tinyllm.training.micro_batches import Cut


@pytest.mark.parametrize(
    ("device", "blocks", "processes", "size", "mode"),
    [
        ("cuda", 8, 1, 16, "reduce-overhead"),
        ("cuda", 4, 1, 16, None),  # the second pass would overwrite the gradients of the first
        ("cuda", 4, 2, 16, "reduce-overhead"),
        ("cuda", 8, 1, 8192, None),  # its kernels run longer than their launch takes
        ("cpu", 8, 1, 16, None),
    ],
)
def test_small_steps_of_one_pass_are_launched_as_cuda_graphs(monkeypatch, device, blocks, processes, size, mode):
    config = small_run("text", "folder", compile=True, embedding_dim=size, num_heads=2, feedforward_dim=4 * size)
    modes = []
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: modes.append(mode) or model)
    monkeypatch.setattr(wrapping, "DistributedDataParallel", lambda model: model)
    with torch.device("meta"):
        model = GPT(config.model)
    wrapping.wrap(model, config, Processes(torch.device(device), 0, processes), Cut("here", blocks))
    assert modes == [mode]
